"""Who may call the API: keys from a file that changes while intake runs, and callers that see their own jobs alone."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from tests.integration.conftest import ENV, Servers
from tests.integration.test_chart_parts import submit_job
from tests.integration.test_running import read_metrics, run_service
from tests.integration.test_submit import check_problem, job
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.sse import listen
from tests.support.target import Target
from tests.support.waiting import eventually

from carom_intake.domain.keys import NewKey, Scope, new_key
from devstack.services import Service, Stack

pytestmark = pytest.mark.stack

RELOAD_SECONDS = 5
"""After this a changed file counts."""
JOBS = (Scope.JOBS_WRITE, Scope.JOBS_READ)

ADMIN = new_key("admin", "default", [Scope.ADMIN])
WRITER = new_key("writer", "default", [Scope.JOBS_WRITE])
READER = new_key("reader", "default", [Scope.JOBS_READ])
SHOP = new_key("shop", "shop", JOBS)
BILLING = new_key("billing", "billing", [*JOBS, Scope.PAYLOADS_READ])
EXPIRED = new_key("expired", "default", [Scope.ADMIN], expires_at=datetime(2020, 1, 1, tzinfo=UTC))
LATER = new_key("later", "default", [Scope.ADMIN])


def text_of(*keys: NewKey) -> str:
    return json.dumps({"keys": [msgspec.to_builtins(made.key) for made in keys]})


class Keyed(NamedTuple):
    """An intake that wants keys, beside the session's own."""

    intake: Service
    file: Path
    logs: Logs

    def api(self, key: NewKey | None) -> Api:
        client = Api(self.intake.url)
        if key:
            client.http.headers["Authorization"] = f"Bearer {key.token}"
        return client


MakeKeyed = Callable[[str, Path], Keyed]


@pytest.fixture(scope="module")
def start_keyed(stack: Stack, servers: Servers) -> Iterator[MakeKeyed]:
    """Starts an intake on the session's servers with a file of keys; its executor and callback serve it too."""
    started: list[Service] = []

    def start(name: str, file: Path) -> Keyed:
        log = servers.directory / name
        environment = ENV | {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}
        environment |= {"CAROM_AUTH": "keys", "CAROM_KEYS_FILE": str(file)}
        service = Service("intake", environment, log=log / "intake.log")
        started.append(service)
        service.start()
        return Keyed(service, file, Logs(log))

    yield start
    for service in started:
        service.terminate()


@pytest.fixture(scope="module")
async def keyed(start_keyed: MakeKeyed, tmp_path_factory: pytest.TempPathFactory) -> Keyed:
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_text(text_of(ADMIN, WRITER, READER, SHOP, BILLING, EXPIRED))
    keyed = start_keyed("keyed", file)

    async def up() -> bool:
        api = keyed.api(ADMIN)
        answer = await api.post(job())
        await api.aclose()
        return answer.status_code == 202

    await eventually(up, "intake accepts a job")
    return keyed


Client = Callable[[NewKey | None], Api]


@pytest.fixture
async def client(keyed: Keyed) -> AsyncIterator[Client]:
    made: list[Api] = []

    def api(key: NewKey | None) -> Api:
        made.append(keyed.api(key))
        return made[-1]

    yield api
    for one in made:
        await one.aclose()


# Who is let in


def wrong(key: NewKey) -> str:
    """The token with another secret."""
    head, _, secret = key.token.rpartition("_")
    return f"{head}_{secret[::-1]}"


AUTHORIZATIONS = {
    "missing": None,
    "no bearer": f"Basic {ADMIN.token}",
    "malformed": "Bearer carom_admin_short",
    "unknown": f"Bearer {ADMIN.token.replace('admin', 'nobody')}",
    "wrong secret": f"Bearer {wrong(ADMIN)}",
    "expired": f"Bearer {EXPIRED.token}",
}


async def test_whoever_has_no_key_gets_one_and_the_same_answer(client: Client) -> None:
    """Nothing tells an unknown id from a wrong secret or an expired key, on any route."""
    api, answers = client(None), set()
    for authorization in AUTHORIZATIONS.values():
        headers = {"Authorization": authorization} if authorization else {}
        for method, path in (("POST", "/api/jobs"), ("GET", f"/api/jobs/{uuid.uuid4()}"), ("GET", "/api/job/x")):
            answer = await api.http.request(method, path, headers={**headers, "X-Request-Id": "same"}, content=b"{}")
            check_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
            answers.add((answer.text, tuple(name for name, _ in answer.headers.items() if name != "date")))
    assert len(answers) == 1
    assert ADMIN.token not in answers.pop()[0]


async def test_failures_are_counted_by_their_reason(client: Client, keyed: Keyed) -> None:
    async with httpx.AsyncClient(trust_env=False) as admin:
        before = await read_metrics(admin, keyed.intake)
        for authorization in AUTHORIZATIONS.values():
            headers = {"Authorization": authorization} if authorization else {}
            await client(None).http.get(f"/api/jobs/{uuid.uuid4()}", headers=headers)
        await client(WRITER).http.get(f"/api/jobs/{uuid.uuid4()}")
        after = await read_metrics(admin, keyed.intake)
    name = "carom_auth_failures_total"
    counted = {key[1][0]: value - before[key] for key, value in after.items() if key[0] == name}
    assert {reason: count for reason, count in counted.items() if count} == {
        "missing": 1,
        "malformed": 2,
        "unknown": 2,
        "expired": 1,
        "scope": 1,
    }


async def test_a_key_without_the_scope_is_told_which_one(client: Client) -> None:
    detail = check_problem(await client(READER).post(job()), 403)["detail"]
    assert "jobs:write" in detail
    job_id = await client(WRITER).submit("http://127.0.0.1:9/")
    for path in (f"/api/jobs/{job_id}", f"/api/job/{job_id}"):
        detail = check_problem(await client(WRITER).http.get(path), 403)["detail"]
        assert "jobs:read" in detail
        assert (await client(READER).http.get(path)).status_code == 200


async def test_the_body_is_not_waited_for(keyed: Keyed) -> None:
    """A caller without a key is answered before it has sent what it announced."""
    reader, writer = await asyncio.open_connection("127.0.0.1", keyed.intake.port)
    try:
        writer.write(
            b"POST /api/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{"
        )
        async with asyncio.timeout(10):
            assert b" 401 " in await reader.readline()
    finally:
        writer.close()


async def test_paths_that_do_not_exist_need_no_key(client: Client) -> None:
    check_problem(await client(None).http.get("/api/nothing"), 404)
    check_problem(await client(None).http.delete("/api/jobs"), 405)


# What a caller sees


async def test_a_tenant_sees_its_own_jobs_alone(client: Client, target: Target) -> None:
    job_id = await client(SHOP).submit(target.endpoint().url, maxRetries=0)
    document = await client(SHOP).wait_for_status(job_id)
    assert document["status"] == "completed"
    for path in (f"/api/jobs/{job_id}", f"/api/job/{job_id}"):
        assert (await client(SHOP).http.get(path)).status_code == 200
        others = [await client(key).http.get(path) for key in (BILLING, ADMIN)]
        absent = await client(SHOP).http.get(path.replace(job_id, str(uuid.uuid4())))
        details = {check_problem(answer, 404)["detail"] for answer in (*others, absent)}
        assert len(details) == 1


async def test_payloads_are_shown_to_whoever_may_read_them(client: Client, target: Target) -> None:
    fields: dict[str, Any] = {"method": "POST", "headers": {"X-Hidden": "hunter2"}, "payload": {"hidden": "hunter2"}}
    for key, hidden in ((SHOP, True), (BILLING, False)):
        endpoint = target.endpoint()
        job_id = await client(key).submit(endpoint.url, **fields)
        typed = await client(key).wait_for_status(job_id)
        seed = await client(key).seed(job_id)
        assert ("hunter2" in json.dumps([typed, seed])) is not hidden
        for document in (typed, seed):
            assert (document["payload"] is None) is hidden
            assert (document["headers"] == {}) is hidden
            assert (document["attemptsLog"][0]["response"] is None) is hidden
            assert document["attemptsLog"][0]["statusCode"] == 200
        assert (typed["response"]["body"] is None) is hidden
        assert typed["response"]["status"] == 200
        assert (seed["lastResponse"] is None) is hidden
        (attempt,) = (await client(key).http.get(f"/api/jobs/{job_id}/attempts")).json()["attempts"]
        assert ("hunter2" in json.dumps(attempt)) is not hidden
        assert attempt["request"]["headers"]["X-Hidden"] == (None if hidden else "hunter2")
        assert (attempt["response"]["body"] is None) is hidden
        other = BILLING if key is SHOP else SHOP
        check_problem(await client(other).http.get(f"/api/jobs/{job_id}/attempts"), 404)


async def test_a_tenant_hears_of_its_own_jobs_alone(client: Client, keyed: Keyed, target: Target) -> None:
    for path in ("/api/events", f"/api/jobs/{uuid.uuid4()}/events"):
        check_problem(await client(None).http.get(path), 401)
        assert "jobs:read" in check_problem(await client(WRITER).http.get(path), 403)["detail"]
    async with listen(keyed.intake.url, "/api/events", token=SHOP.token) as stream:
        foreign = await client(BILLING).submit(target.endpoint().url)
        await client(BILLING).wait_for_status(foreign)
        check_problem(await client(SHOP).http.get(f"/api/jobs/{foreign}/events"), 404)
        job_id = await client(SHOP).submit(target.endpoint().url)
        heard = await stream.until("completed")
        assert {event.data["jobId"] for event in heard} == {job_id}


async def test_waiting_for_a_result_needs_the_right_to_read_it(client: Client, target: Target) -> None:
    """Without it a preference is passed over; payloads have a right of their own."""
    body = {"targetUrl": target.endpoint().url, "callbackUrl": None, "method": "POST", "payload": {"hidden": "hunter2"}}
    answer = await client(WRITER).post(body, {"Prefer": "wait=20"})
    assert (answer.status_code, answer.headers.get("preference-applied")) == (202, None)
    for key, hidden in ((SHOP, True), (BILLING, False)):
        answer = await client(key).post(body, {"Prefer": "wait=20"})
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        assert ("hunter2" in answer.text) is not hidden


async def test_a_stream_ends_with_its_key(start_keyed: MakeKeyed, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text_of(ADMIN, LATER))
    keyed = start_keyed("streaming", file)
    async with listen(keyed.intake.url, "/api/events", token=LATER.token) as stream:
        file.write_text(text_of(ADMIN))
        while await stream.next(40):
            pass
        assert stream.ended


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        (ADMIN.token, "was called back as completed"),
        ("", "the Secret of API keys has no admin-key"),
        (wrong(ADMIN), "its admin-key is not in keys.json"),
    ],
    ids=["key", "no key", "wrong key"],
)
async def test_helm_test_says_what_is_wrong_with_its_key(keyed: Keyed, token: str, outcome: str) -> None:
    result = await asyncio.to_thread(submit_job, keyed.intake.url, key=token)
    assert (result.returncode == 0) == (token == ADMIN.token)
    assert outcome in result.stdout + result.stderr


# A file that changes


async def lets_in(keyed: Keyed, key: NewKey) -> bool:
    api = keyed.api(key)
    try:
        return (await api.http.get("/api/jobs/x")).status_code == 404
    finally:
        await api.aclose()


def later(keyed: Keyed, key: NewKey, allowed: bool = True) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def ask() -> bool:
        return await lets_in(keyed, key) is allowed

    return ask


async def test_a_changed_file_counts_soon_and_a_bad_one_does_not(start_keyed: MakeKeyed, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text_of(ADMIN))
    keyed = start_keyed("reloaded", file)
    assert (await lets_in(keyed, ADMIN), await lets_in(keyed, LATER)) == (True, False)

    file.write_text(text_of(LATER))
    await eventually(later(keyed, LATER), "the new key counts", RELOAD_SECONDS)
    assert not await lets_in(keyed, ADMIN)
    assert [event["count"] for event in keyed.logs.events(event="keys_loaded")] == [1, 1]

    bad: list[Callable[[], object]] = [lambda: file.write_text("{"), file.unlink]
    for count, change in enumerate(bad, 1):
        change()
        [*_, event] = await keyed.logs.wait_for(count, RELOAD_SECONDS, event="keys_rejected")
        assert str(file) in event["reason"]
        await asyncio.sleep(2.5)
        assert len(keyed.logs.events(event="keys_rejected")) == count, "once for each change"
        assert await lets_in(keyed, LATER)

    file.write_text(text_of(LATER, ADMIN))
    await eventually(later(keyed, ADMIN), "the file is good again", RELOAD_SECONDS)
    assert LATER.token.rpartition("_")[2] not in keyed.logs.text()


async def test_a_mounted_secret_is_followed(start_keyed: MakeKeyed, tmp_path: Path) -> None:
    """Kubernetes writes a new directory and swaps a symlink to it; the path of the file stays what it is."""

    def publish(version: str, *keys: NewKey) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys.json").write_text(text_of(*keys))
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    publish("..1", ADMIN)
    file = tmp_path / "keys.json"
    file.symlink_to("..data/keys.json")
    keyed = start_keyed("mounted", file)
    assert await lets_in(keyed, ADMIN)
    publish("..2", LATER)
    await eventually(later(keyed, LATER), "the new key counts", RELOAD_SECONDS)
    assert not await lets_in(keyed, ADMIN)


# Starting


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("", "truncated"),
        ('{"keys": [{}]}', "missing required field"),
        ("[]", "Expected `object`"),
    ],
)
async def test_a_bad_file_stops_the_start(text: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    if text is not None:
        file.write_text(text)
    code, lines = await run_service("intake", CAROM_KEYS_FILE=str(file))
    assert code == 2
    assert len(lines) == 1
    assert "CAROM_KEYS_FILE" in lines[0]
    assert words in lines[0]


async def test_keys_are_wanted_unless_they_are_off(logs: Logs, api: Api) -> None:
    """The session's own stack says that it takes anybody."""
    code, lines = await run_service("intake")
    assert (code, len(lines)) == (2, 1)
    assert "CAROM_KEYS_FILE" in lines[0]
    assert "CAROM_AUTH=off" in lines[0]
    assert (await api.post(job())).status_code == 202
    [event] = logs.events(event="auth_off", service="intake")[:1]
    assert event["level"] == "warning"
