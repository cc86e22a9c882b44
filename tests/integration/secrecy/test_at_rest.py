"""With CAROM_ENCRYPTION_KEYS nothing of a job is found in the servers' raw data, the logs or the metrics."""

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from tests.integration.secrecy.conftest import ADMIN, SEALING, Client, Vaulted
from tests.support.broker import Broker, Letter
from tests.support.client import Api, connected
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from carom_common.adapters.store.records import log_key
from carom_common.topology import DEAD_CALLBACK_QUEUE, DEAD_EXECUTE_QUEUE, PARKED_QUEUE
from devstack.services import Service

pytestmark = pytest.mark.stack

FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}, "maxRetries": 1}
NEW = "s2:" + base64.b64encode(b"2" * 32).decode()
PLANTED = ("payload", "header", "credential", "callback", "query", "answer", "cookie", "location", "text")


def plants() -> dict[str, str]:
    return {what: f"planted-{what}-{uuid.uuid4().hex}" for what in PLANTED}


def job(target: Target, plant: dict[str, str], statuses: list[int], callback: str | None) -> dict[str, Any]:
    answers = [
        respond(
            status,
            {"leak": plant["answer"]} if number % 2 == 0 else plant["text"],
            set_cookie=plant["cookie"],
            x_plain=plant["answer"],
            location=f"https://x.example/{plant['location']}?{plant['location']}",
        )
        for number, status in enumerate(statuses)
    ]
    callbacks = (
        {"callback": {"url": callback, "headers": {"X-Plain": plant["callback"]}}}
        if callback
        else {"callbackUrl": None}
    )
    return {
        "targetUrl": target.endpoint(*answers).url + f"?q={plant['query']}",
        "method": "POST",
        "headers": {"Authorization": f"Bearer {plant['credential']}", "X-Plain": plant["header"]},
        "payload": {"secret": plant["payload"]},
        **callbacks,
        **FAST,
    }


async def run_through(api: Api, target: Target, plant: dict[str, str], letters: Broker) -> None:
    """Success, retry, both dead letters, redrive, cancel, wait, replay, batch: every way that leaves something."""
    good, bad = target.endpoint(), target.endpoint(respond(500, {"leak": plant["answer"]}))

    async def submit(statuses: list[int], callback: str | None = good.url, **fields: Any) -> str:
        headers = fields.pop("headers", {})
        answer = await api.post(job(target, plant, statuses, callback) | fields, headers)
        assert answer.is_success, answer.text
        return str(answer.json()["jobId"])

    done = await submit([200])
    retried = await submit([503, 200])
    moved = await submit([302])
    waited = await submit([200], headers={"Prefer": "wait=20", "Idempotency-Key": plant["header"][:40]})
    dead = await submit([503, 500])
    undelivered = await submit([200], bad.url)
    later = await submit([200], delay=3_600_000)
    delayed = await submit([503, 503, 200], maxRetries=5, retryDelay=30_000)
    cancelled = await submit([200], delay=3_600_000)
    assert (await api.http.delete(f"/api/jobs/{cancelled}")).is_success
    body = {"jobs": [job(target, plant, [200], good.url), {"payload": plant["payload"]}]}
    assert (await api.http.post("/api/jobs/batch", json=body)).status_code == 207
    for job_id in (done, retried, moved, waited, dead, undelivered):
        await api.wait_for_callback(job_id, "failed" if job_id == undelivered else "delivered")
    await api.wait_for_status(delayed, "waiting")
    for queue, job_id in ((DEAD_EXECUTE_QUEUE, dead), (DEAD_CALLBACK_QUEUE, undelivered)):
        await lies_in(letters, queue, job_id)
    assert (await api.http.post(f"/api/dead-letters/{dead}/redrive")).is_success
    await api.wait_for_callback(dead, "delivered")
    assert (await api.typed(later))["payload"] == {"secret": plant["payload"]}


async def lies_in(letters: Broker, queue: str, job_id: str) -> list[Letter]:
    """Letters of a job, once there is one: sealed, they name it at their beginning."""

    def found() -> list[Letter]:
        return [letter for letter in letters.letters[queue] if job_id.encode() in letter.body[:40]]

    return await eventually(found, f"{job_id} lies in {queue}")


def traces(plant: dict[str, str]) -> dict[str, list[bytes]]:
    """What to look for: a text as it is, and within base64, wherever it begins."""
    found = {}
    for what, text in plant.items():
        raw = text.encode()
        found[what] = [raw, *(base64.b64encode(b"\0" * n + raw)[4:-4] for n in range(3)), raw.hex().encode()]
    return found


def where(data: bytes, wanted: dict[str, list[bytes]]) -> list[str]:
    return [what for what, forms in wanted.items() if any(form in data for form in forms)]


def files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())


def everything(client: redis.Redis) -> Iterator[tuple[bytes, bytes]]:
    """Every key with its whole value."""
    for key in client.scan_iter(count=1000):
        match client.type(key):
            case b"string":
                value: Any = client.get(key)
            case b"hash":
                value = client.hgetall(key)
            case b"list":
                value = client.lrange(key, 0, -1)
            case b"set":
                value = client.smembers(key)
            case b"zset":
                value = client.zrange(key, 0, -1, withscores=True)
            case b"stream":
                value = client.xrange(key)
            case kind:
                raise AssertionError(f"{key!r} is a {kind!r}")
        yield key, repr(value).encode()


async def test_nothing_of_a_job_is_found_at_rest_in_logs_or_metrics(
    vaulted: Vaulted, client: Client, target: Target, letters: Broker
) -> None:
    plant = plants()
    wanted = traces(plant)
    api = client(ADMIN)
    await run_through(api, target, plant, letters)

    found: list[tuple[str, list[str]]] = []
    with redis.Redis.from_url(vaulted.redis.url) as store:
        store.save()
        keys = 0
        for key, value in everything(store):
            keys += 1
            found.append((key.decode(), where(key + value, wanted)))
    assert keys > 30
    data = [path for directory in (vaulted.rabbitmq.directory, vaulted.redis.directory) for path in files(directory)]
    assert any(path.suffix == ".rdb" for path in data)
    assert any(".aof" in path.name for path in data)
    assert any("quorum" in str(path) for path in data)
    found += [(str(path), where(path.read_bytes(), wanted)) for path in data]
    found.append(("logs", where(vaulted.logs.text().encode(), wanted)))
    async with httpx.AsyncClient(trust_env=False) as http:
        for service in vaulted.stack.services:
            metrics = (await http.get(f"{service.admin}/metrics")).content
            assert b"carom_" in metrics
            found.append((f"metrics of {service.name}", where(metrics, wanted)))
    assert [(place, what) for place, what in found if what] == []
    letter = next(iter(letters.letters[DEAD_EXECUTE_QUEUE]))
    assert where(letter.body + repr(letter.headers).encode(), wanted) == []
    assert SEALING.partition(":")[2] not in vaulted.logs.text()


async def test_what_is_sealed_with_an_unknown_key_is_parked_and_told(
    vaulted: Vaulted, client: Client, target: Target, letters: Broker
) -> None:
    """An intake that was given a new key before the others were: nothing loops, nothing else is held up."""
    ahead = Service(
        "intake", vaulted.env | {"CAROM_ENCRYPTION_KEYS": f"{NEW},{SEALING}"}, log=vaulted.redis.directory / "ahead.log"
    )
    api = client(ADMIN)
    endpoint, callback = target.endpoint(), target.endpoint()
    old = await api.submit(endpoint.url, callback.url, payload={"n": 1}, method="POST")
    await api.wait_for_callback(old, "delivered")
    ahead.start()
    new_api = Api(ahead.url)
    try:
        await connected(ahead)
        assert (await new_api.typed(old))["payload"] == {"n": 1}
        new = await new_api.submit(endpoint.url, callback.url, labels={"sealed": "new"})
        parked = await vaulted.logs.wait_for(event="message_parked")
        assert "'s2', which is not among CAROM_ENCRYPTION_KEYS" in parked[-1]["reason"]
        reasons = [str(letter.headers["reason"]) for letter in await lies_in(letters, PARKED_QUEUE, new)]
        assert "'s2'" in reasons[0]
        assert (await new_api.typed(new))["status"] == "queued"
        for path in (f"/api/jobs/{new}", f"/api/job/{new}", f"/api/jobs/{new}/attempts"):
            answer = await api.http.get(path)
            assert (answer.status_code, answer.json()["reason"]) == (503, "encryption-key"), path
            assert "'s2'" in answer.json()["detail"]
        explained = await api.http.get(f"/api/jobs/{new}?explain=true")
        assert (explained.status_code, explained.json()["reason"]) == (503, "encryption-key")
        assert "its record says: queued, 0 attempts" in explained.json()["detail"]
        assert (await api.http.delete(f"/api/jobs/{new}")).status_code == 503
        page = (await api.http.get("/api/jobs", params={"status": "queued"})).json()["jobs"]
        assert [shown["targetUrl"] for shown in page if shown["jobId"] == new] == [
            "[sealed with a key that is not known here]"
        ]
        after = await api.submit(endpoint.url, callback.url)
        await api.wait_for_callback(after, "delivered")
        assert (await new_api.http.delete(f"/api/jobs/{new}")).status_code == 200
    finally:
        await new_api.aclose()
        ahead.terminate()


async def test_a_record_that_was_tampered_with_is_not_taken_for_its_own(
    vaulted: Vaulted, client: Client, target: Target
) -> None:
    """Who may write to Redis can put no job of another's in the place of this one."""
    api = client(ADMIN)
    ids = [await api.submit(target.endpoint().url, None, payload={"n": n}, method="POST") for n in range(2)]
    for job_id in ids:
        await api.wait_for_status(job_id)
    with redis.Redis.from_url(vaulted.redis.url) as store:
        other = store.lindex(log_key(ids[1]), 0)
        store.lset(log_key(ids[0]), 0, other)
        store.persist(log_key(ids[0]))
    answer = await api.http.get(f"/api/jobs/{ids[0]}")
    assert (answer.status_code, answer.json()["reason"]) == (503, "encryption-key")
    assert (await api.typed(ids[1]))["payload"] == {"n": 1}


async def test_without_keys_it_is_told_at_start(vaulted: Vaulted) -> None:
    """By each service, once; and not with keys."""
    log = vaulted.redis.directory / "clear.log"
    clear = Service("intake", vaulted.env | {"CAROM_LOG_FORMAT": "json"}, log=log)
    clear.start()
    clear.terminate()
    events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [event["level"] for event in events if event["event"] == "encryption_off"] == ["warning"]
    assert vaulted.logs.events(event="encryption_off") == []
