"""`Idempotency-Key`: one job and one call, whoever asks, however often, at whichever replica."""

import asyncio
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.conftest import ENV, Servers
from tests.support.client import Api, connected
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from devstack.paths import ROOT
from devstack.services import Service, Stack

pytestmark = pytest.mark.stack

KEY = "Idempotency-Key"
REPLAYED = "idempotency-replayed"


def fresh() -> str:
    return str(uuid.uuid4())


def job(target: str, **fields: Any) -> dict[str, Any]:
    return {"targetUrl": target, "callbackUrl": None, "method": "POST"} | fields


def settings_of(servers: Servers, **more: str) -> dict[str, str]:
    urls = {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}
    return {**ENV, **urls, "PYTHONPATH": str(ROOT), **more}


@pytest.fixture(scope="module")
def second(stack: Stack, servers: Servers) -> Iterator[Service]:
    """Another replica of intake beside the stack's."""
    service = Service("intake", settings_of(servers), log=servers.directory / "services" / "intake-second.log")
    service.start()
    yield service
    service.terminate()


@pytest.fixture(scope="module")
async def other(second: Service) -> AsyncIterator[Api]:
    await connected(second)
    client = Api(second.url)
    yield client
    await client.aclose()


async def insisting(api: Api, body: Any, key: str) -> tuple[httpx.Response, list[httpx.Response]]:
    """Post until it is answered with success; also what was answered before."""
    before: list[httpx.Response] = []
    while True:
        answer = await api.post(body, {KEY: key})
        if answer.status_code not in (409, 503):
            return answer, before
        before.append(answer)
        assert len(before) < 200
        await asyncio.sleep(0.1)


async def test_the_same_again_gets_the_same_answer(api: Api, other: Api, target: Target) -> None:
    """The first answer, byte for byte, with its Location, at every replica, and no second call."""
    endpoint, key = target.endpoint(), fresh()
    first = await api.post(job(endpoint.url), {KEY: key})
    assert first.status_code == 202
    assert REPLAYED not in first.headers
    await api.wait_for_status(first.json()["jobId"], "completed")
    for client, header in ((api, key), (other, key), (other, f'"{key}"')):
        again = await client.post(job(endpoint.url), {KEY: header})
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["location"] == first.headers["location"]
        assert again.headers[REPLAYED] == "true"
    assert len(endpoint.requests) == 1


async def test_another_body_is_refused(api: Api, other: Api, target: Target) -> None:
    endpoint, key = target.endpoint(), fresh()
    assert (await api.post(job(endpoint.url), {KEY: key})).status_code == 202
    for client in (api, other):
        answer = await client.post(job(endpoint.url, payload=1), {KEY: key})
        assert (answer.status_code, answer.json()["reason"]) == (422, "idempotency-key-reused")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_invalid_job_does_not_use_the_key_up(api: Api, target: Target) -> None:
    endpoint, key = target.endpoint(), fresh()
    assert (await api.post(job(endpoint.url, maxRetries=11), {KEY: key})).status_code == 400
    assert (await api.post(b"{", {KEY: key})).status_code == 400
    assert (await api.post(job(endpoint.url), {KEY: key})).status_code == 202


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, '"open', '"a"; q=1'])
async def test_a_header_that_is_no_key_is_named(api: Api, target: Target, key: str) -> None:
    answer = await api.post(job(target.endpoint().url), {KEY: key})
    assert answer.status_code == 400
    assert KEY in answer.json()["detail"]
    assert "255" in answer.json()["detail"]


async def test_a_replay_outlives_the_times_of_its_job(api: Api, target: Target) -> None:
    """What was valid when it came is the same request later, even if its time to expire is over by then."""
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    body, key = job(target.endpoint().url, expiresAt=soon.isoformat()), fresh()
    first = await api.post(body, {KEY: key})
    assert first.status_code == 202
    await asyncio.sleep(1.6)
    again = await api.post(body, {KEY: key})
    assert (again.status_code, again.content) == (202, first.content)
    assert (await api.post(body, {KEY: fresh()})).status_code == 400


async def test_two_hundred_at_once(api: Api, other: Api, target: Target) -> None:
    """Two hundred posts with one key over two replicas make one job and one call; who is too early gets 409."""
    endpoint, key = target.endpoint(), fresh()
    body = job(endpoint.url)
    answers = await asyncio.gather(*(insisting(client, body, key) for client in (api, other) for _ in range(100)))
    assert {last.status_code for last, _ in answers} == {202}
    assert len({last.content for last, _ in answers}) == 1
    assert sum(REPLAYED not in last.headers for last, _ in answers) == 1
    for answer in (early for _, before in answers for early in before):
        assert (answer.status_code, answer.json()["reason"]) == (409, "idempotency-key-in-use")
        assert int(answer.headers["retry-after"]) >= 1
    await api.wait_for_status(answers[0][0].json()["jobId"], "completed")
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("point", ["after-publish", "after-record"])
async def test_killed_half_way(
    point: str, stack: Stack, api: Api, servers: Servers, target: Target, tmp_path: Path
) -> None:
    """Intake is killed between publish and record, or before its answer: the same request again is the same job."""
    command = [sys.executable, "-m", "tests.support.crashing", "intake", point, "1", str(tmp_path / "trace")]
    doomed = Service("intake", settings_of(servers), log=tmp_path / "doomed.log", command=command)
    doomed.start()
    endpoint, key = target.endpoint(), fresh()
    body = job(endpoint.url)
    client = Api(doomed.url)
    try:
        with pytest.raises(httpx.TransportError):
            await insisting(client, body, key)  # 503 until it has its connections
    finally:
        await client.aclose()
    await eventually(lambda: not doomed.alive, "the kill")
    assert doomed.exit_code == -signal.SIGKILL
    await endpoint.one()

    answer, before = await insisting(api, body, key)
    assert (answer.status_code, REPLAYED in answer.headers) == (202, False)
    assert before, "it waits for the hold of the one that is gone"
    assert {early.status_code for early in before} == {409}
    job_id = answer.json()["jobId"]
    assert endpoint.requests[0].header("X-Carom-Job-Id") == job_id
    await api.wait_for_status(job_id, "completed")
    again = await api.post(body, {KEY: key})
    assert (again.content, again.headers[REPLAYED]) == (answer.content, "true")
    probe = target.endpoint()  # behind the second copy in the same queue
    await api.wait_for_status(await api.submit(probe.url), "completed")
    assert len(endpoint.requests) == 1


async def test_a_503_keeps_the_key_for_the_retry(stack: Stack, api: Api, servers: Servers, target: Target) -> None:
    """While the broker refuses, nobody holds the key: the retry gets through as soon as the broker takes messages."""
    endpoint, key = target.endpoint(), fresh()
    body = job(endpoint.url)
    normal = servers.rabbitmq.ctl("eval", "vm_memory_monitor:get_vm_memory_high_watermark().").strip()
    servers.rabbitmq.ctl("set_vm_memory_high_watermark", "0.00000001")
    try:

        async def refused() -> bool:
            return (await api.post(body, {KEY: key})).status_code == 503

        await eventually(refused, "503 while the broker blocks", interval=0.1)
        assert await refused()
    finally:
        servers.rabbitmq.ctl("set_vm_memory_high_watermark", normal)
    answer, before = await insisting(api, body, key)
    assert {early.status_code for early in before} <= {503}, "no 409"
    await api.wait_for_status(answer.json()["jobId"], "completed")
    await asyncio.sleep(0.3)
    calls = {received.header("X-Carom-Job-Id") for received in endpoint.requests}
    assert calls == {answer.json()["jobId"]}
    assert len(endpoint.requests) <= 2, "a first try may have got through before the broker blocked"


async def test_keys_are_apart_from_retries_of_the_job(api: Api, target: Target) -> None:
    """A job that failed is the answer all the same."""
    endpoint, key = target.endpoint(respond(404)), fresh()
    first = await api.post(job(endpoint.url), {KEY: key})
    await api.wait_for_status(first.json()["jobId"], "failed")
    again = await api.post(job(endpoint.url), {KEY: key})
    assert again.content == first.content
    assert len(endpoint.requests) == 1
