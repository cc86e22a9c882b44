"""Carom as an operator runs it: probes, metrics, logs, stopping, bad configuration, and servers that go away."""

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.conftest import ENV, SECRET, Servers
from tests.support.broker import Broker
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import HANG, Target, respond
from tests.support.waiting import eventually

from carom_callback.settings import CallbackSettings
from carom_common.settings import Settings, variable
from carom_common.topology import DEAD_CALLBACK_QUEUE, DEAD_EXECUTE_QUEUE, QUEUES
from carom_executor.settings import ExecutorSettings
from carom_intake.settings import IntakeSettings
from devstack.ports import free_port
from devstack.servers import RabbitMQ, Redis
from devstack.services import Service, Stack

pytestmark = pytest.mark.stack

FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}}


@pytest.fixture(scope="module")
async def admin() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        yield client


# Probes and metrics


@pytest.mark.parametrize("kind", ["intake", "executor", "callback"])
async def test_probes(stack: Stack, admin: httpx.AsyncClient, kind: str) -> None:
    """Alive, ready, and in detail, on a port of its own."""
    base = stack.of(kind)[0].admin
    for path in ("/livez", "/readyz"):
        answer = await admin.get(base + path)
        assert (answer.status_code, answer.text) == (200, "ok\n")
    verbose = await admin.get(f"{base}/readyz?verbose")
    assert verbose.status_code == 200
    expected = {"ready": True, "broker": "ok", "store": "ok", "draining": "no"}
    assert verbose.json() == (expected if kind == "intake" else expected | {"consumer": "ok"})
    assert (await admin.get(f"{base}/metrics")).headers["content-type"].startswith("text/plain")
    assert (await admin.get(f"{base}/api/jobs")).status_code == 404


Samples = dict[tuple[str, tuple[str, ...]], float]


async def read_metrics(admin: httpx.AsyncClient, *services: Service) -> Samples:
    """Value of every carom_* sample by name and label values; samples of several services are summed."""
    samples: Samples = {}
    for service in services:
        text = (await admin.get(f"{service.admin}/metrics")).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("carom_") and not sample.name.endswith("_created"):
                    key = (sample.name, tuple(sample.labels.values()))
                    samples[key] = samples.get(key, 0) + sample.value
    return samples


async def test_metrics_count_what_happens(
    api: Api, target: Target, stack: Stack, admin: httpx.AsyncClient, broker: Broker
) -> None:
    """One job of each fate moves each counter by what it did."""
    before = await read_metrics(admin, *stack.services)
    ok, receiver = target.endpoint(), target.endpoint()
    completed = await api.submit(target.endpoint(respond(503), respond()).url, receiver.url, **FAST)
    failed = await api.submit(target.endpoint(respond(404)).url, target.endpoint(respond(410)).url)
    exhausted = await api.submit(target.endpoint(respond(500)).url, target.endpoint(respond(500)).url, maxRetries=0)
    refused = await api.submit(ok.url, "http://10.0.0.1/")
    assert (await api.post({})).status_code == 400
    assert (await api.post({}, {"Content-Type": "text/plain"})).status_code == 415
    for job_id in (completed, failed, exhausted, refused):
        await api.wait_for_callback(job_id)
    await broker.dead(DEAD_EXECUTE_QUEUE, exhausted)
    await broker.dead(DEAD_CALLBACK_QUEUE, exhausted)
    await broker.dead(DEAD_CALLBACK_QUEUE, refused)
    after = await read_metrics(admin, *stack.services)

    def moved(name: str, *labels: str) -> float:
        return after.get((name, labels), 0) - before.get((name, labels), 0)

    assert moved("carom_jobs_submitted_total") == 4
    assert moved("carom_submit_duration_seconds_count") == 4
    assert moved("carom_submissions_refused_total", "400") == 1
    assert moved("carom_submissions_refused_total", "415") == 1
    assert {name: moved("carom_attempts_total", name) for name in ("completed", "retried", "exhausted", "failed")} == {
        "completed": 2,
        "retried": 1,
        "exhausted": 1,
        "failed": 1,
    }
    assert moved("carom_attempt_duration_seconds_count") == 5
    assert moved("carom_job_duration_seconds_count", "completed") == 2
    assert moved("carom_job_duration_seconds_count", "failed") == 2
    assert moved("carom_retries_total", "http-5xx") == 1
    assert moved("carom_lateness_seconds_count") == 1
    outcomes = ("delivered", "retried", "exhausted", "gone", "refused")
    assert {name: moved("carom_callbacks_total", name) for name in outcomes} == {
        "delivered": 1,
        "retried": 3,
        "exhausted": 1,
        "gone": 1,
        "refused": 1,
    }
    assert moved("carom_dead_letters_total", DEAD_EXECUTE_QUEUE) == 1
    assert moved("carom_dead_letters_total", DEAD_CALLBACK_QUEUE) == 2
    # Bounded labels: nothing of a job is in them.
    values = {value for name, labels in after for value in labels if not name.endswith("_bucket")}
    assert all(re.fullmatch(r"[\w .-]{1,40}", value) for value in values), values
    assert not any(re.search(r"[0-9a-f]{8}-|127\.0\.0\.1|://", value) for value in values), values


async def test_gauges_show_what_runs_and_what_is_held(
    api: Api, target: Target, stack: Stack, admin: httpx.AsyncClient
) -> None:
    """In flight while a call runs, held for the last second before an odd time; both return to where they were."""
    before = await read_metrics(admin, stack.executor)
    running, waiting = target.endpoint(respond(delay=1.5)), target.endpoint(respond(503), respond())
    job_id = await api.submit(running.url)
    odd = await api.submit(waiting.url, retryDelay=999, retry={"strategy": "fixed"})
    await running.one()
    now = await read_metrics(admin, stack.executor)
    assert now["carom_in_flight", ()] >= 1

    async def held() -> bool:
        return (await read_metrics(admin, stack.executor))["carom_held", ()] > before["carom_held", ()]

    await eventually(held, "the early message is held", within=5)
    await api.wait_for_status(job_id)
    await api.wait_for_status(odd)


# Logs


async def test_traceparent_reaches_every_log(api: Api, target: Target, logs: Logs) -> None:
    """The client's trace id is in what intake, executor and callback log about the job."""
    trace = uuid.uuid4().hex
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-Id": f"r-{trace}"}
    endpoint = target.endpoint(respond(503), respond())
    job_id = await api.submit(endpoint.url, target.endpoint().url, request_headers=headers, **FAST)
    await api.wait_for_callback(job_id, "delivered")
    accepted = (await logs.wait_for(event="job_accepted", job_id=job_id))[0]
    attempts = await logs.wait_for(2, event="attempt", job_id=job_id)
    callback = (await logs.wait_for(event="callback", job_id=job_id))[0]
    events = [accepted, *attempts, callback]
    assert [event["trace_id"] for event in events] == [trace] * 4
    assert [event["service"] for event in events] == ["intake", "executor", "executor", "callback"]
    assert accepted["request_id"] == f"r-{trace}"
    assert [event["attempt"] for event in attempts] == [1, 2]
    assert callback["attempt"] == 1
    invalid = await api.submit(endpoint.url, request_headers={"traceparent": "00-nonsense"})
    made = (await logs.wait_for(event="attempt", job_id=invalid))[0]["trace_id"]
    assert re.fullmatch(r"[0-9a-f]{32}", made)


async def test_logs_are_json_and_keep_secrets(api: Api, target: Target, logs: Logs, broker: Broker) -> None:
    """No header value, payload, URL credential, response or signing secret in any line, whatever goes wrong."""
    plant = "PLANTED-" + uuid.uuid4().hex
    secret = {"Authorization": f"Bearer {plant}", "X-Api-Key": plant}
    common: dict[str, Any] = {"method": "POST", "headers": secret, "payload": {"card": plant}, **FAST}
    bad = respond(500, {"leak": plant}, set_cookie=f"s={plant}", location=f"http://127.0.0.1:9/{plant}")
    moved = respond(302, {"leak": plant}, location=f"http://127.0.0.1:9/?token={plant}")
    endpoints = [target.endpoint(respond(200, {"leak": plant})), target.endpoint(bad), target.endpoint(moved)]
    refused = target.endpoint(respond(302, location=f"http://10.0.0.1/{plant}"))
    jobs = [
        *[await api.submit(e.url, target.endpoint(bad).url, request_headers=secret, **common) for e in endpoints],
        await api.submit(endpoints[0].url, target.endpoint(moved).url, **common),
        await api.submit(refused.url, target.endpoint().url, followRedirects=True, **common),
        await api.submit(f"http://127.0.0.1:9/{plant}", f"http://127.0.0.1:9/{plant}", **common),
        await api.submit(f"http://10.0.0.1/{plant}", f"http://10.0.0.1/{plant}", **common),
    ]
    assert (await api.post({"payload": plant, "headers": {plant: plant, "a b": plant}, "x": plant}, secret)).is_error
    assert (await api.post(plant.encode(), secret)).is_error
    assert (await api.http.get("/api/nothing", headers=secret)).is_error
    for key in ("execute.normal", "callback.normal"):
        body = json.dumps({"version": 1, "payload": plant}).encode()
        await broker.publish(key, body, secret=plant)
    await broker.parked(plant.encode())
    for document in await asyncio.gather(*map(api.wait_for_callback, jobs)):
        assert document["callback"]["status"] == "failed" or document["jobId"] == jobs[4]
        await logs.wait_for(event="callback", job_id=document["jobId"])

    lines = logs.lines()
    assert len(lines) > 20
    assert [line for line in lines if plant in line] == []
    assert [line for line in lines if SECRET.removeprefix("whsec_") in line] == []
    for line in lines:
        event = json.loads(line)
        assert {"event", "level", "timestamp", "service"} <= event.keys()
        if event["event"] in ("attempt", "callback"):
            assert {"job_id", "attempt", "trace_id", "outcome"} <= event.keys()


# Stopping


async def test_sigterm_lets_the_executor_finish(api: Api, target: Target, stack: Stack) -> None:
    """A call of 2 s is finished, settled and handed on before the process exits with 0; it takes nothing new."""
    endpoint, callback = target.endpoint(respond(200, {"late": True}, delay=2)), target.endpoint()
    job_id = await api.submit(endpoint.url, callback.url)
    await endpoint.one()
    stopping = asyncio.create_task(asyncio.to_thread(stack.executor.terminate))
    try:
        await asyncio.sleep(0.3)  # time to cancel the consumer; what is submitted before may still be taken
        later = target.endpoint()
        later_job = await api.submit(later.url)
        assert await stopping == 0
        assert (await callback.one()).json["response"] == {"status": 200, "body": {"late": True}}
        assert later.requests == []
    finally:
        await stopping
        await asyncio.to_thread(stack.executor.start)
    await api.wait_for_status(later_job, "completed")
    assert (await api.typed(job_id))["attempts"] == 1
    assert len(endpoint.requests) == 1


async def test_sigterm_lets_callback_finish(api: Api, target: Target, stack: Stack) -> None:
    callback = target.endpoint(respond(delay=1.5))
    job_id = await api.submit(target.endpoint().url, callback.url)
    await callback.one()
    try:
        assert await asyncio.to_thread(stack.callback.terminate) == 0
    finally:
        await asyncio.to_thread(stack.callback.start)
    assert (await api.wait_for_callback(job_id))["callback"]["status"] == "delivered"
    assert len(callback.requests) == 1


NOTHING = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_sigterm_lets_intake_answer(api: Api, target: Target, stack: Stack) -> None:
    """A request whose body is half there is answered before the process exits with 0; nobody new is let in.

    So is one that comes over a connection that was kept, as the last one there. Who was answered before its body was
    there is not waited for.
    """
    endpoint = target.endpoint()
    body = json.dumps({"targetUrl": endpoint.url, "callbackUrl": None}).encode()
    port = stack.intake.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body[:10])
    await writer.drain()
    # The process is in the middle of the request once it answers another one on a connection made later.
    kept_reader, kept_writer = await asyncio.open_connection("127.0.0.1", port)
    kept_writer.write(NOTHING)
    assert (await kept_reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    early_reader, early_writer = await asyncio.open_connection("127.0.0.1", port)
    early_writer.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    assert (await early_reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    stopping = asyncio.create_task(asyncio.to_thread(stack.intake.terminate))
    try:

        async def refuses() -> bool:
            try:
                _, other = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return True
            other.close()
            with contextlib.suppress(OSError):
                await other.wait_closed()
            return False

        await eventually(refuses, "new connections are refused", within=5)
        kept_writer.write(NOTHING)
        kept = await kept_reader.read()
        assert b"HTTP/1.1 404 " in kept
        assert b"connection: close" in kept
        async with asyncio.timeout(5):  # half of CAROM_SHUTDOWN_TIMEOUT
            await early_reader.read()
        writer.write(body[10:])
        await writer.drain()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 202 ")
        assert await stopping == 0
    finally:
        writer.close()
        kept_writer.close()
        early_writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await stopping
        await asyncio.to_thread(stack.intake.start)
    await endpoint.one()


# Servers of their own, for what would hurt the other tests


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    directory = tmp_path_factory.mktemp("own")
    with RabbitMQ(directory / "rabbitmq") as rabbitmq, Redis(directory / "redis") as redis:
        yield Servers(rabbitmq, redis, directory)


@pytest.fixture(scope="module")
def own_stack(own_servers: Servers) -> Iterator[Stack]:
    env = ENV | {"CAROM_SHUTDOWN_TIMEOUT": "1"}
    logs = own_servers.directory / "services"
    with Stack(own_servers.rabbitmq.url, own_servers.redis.url, log=logs, env=env) as stack:
        yield stack


@pytest.mark.parametrize("kind", ["executor", "callback"])
async def test_what_does_not_finish_is_handed_back(own_stack: Stack, own_api: Api, target: Target, kind: str) -> None:
    """A call longer than CAROM_SHUTDOWN_TIMEOUT: exit 0 all the same, and another replica starts the same attempt
    again long before the lease of 10 s would have ended."""
    slow, quick = target.endpoint(HANG, respond()), target.endpoint()
    urls = (slow.url, quick.url) if kind == "executor" else (quick.url, slow.url)
    first = own_stack.of(kind)[0]
    job_id = await own_api.submit(*urls)
    await slow.one()
    second = own_stack.add(kind)
    await asyncio.to_thread(second.start)
    try:
        started = time.monotonic()
        assert await asyncio.to_thread(first.terminate) == 0
        assert 0.9 <= time.monotonic() - started < 5
        stopped = time.time()
        again = (await slow.wait(2))[1]
        assert again.at - stopped < 5
        if kind == "executor":
            assert again.header("X-Carom-Attempt") == "1"
        document = await own_api.wait_for_callback(job_id, "delivered")
        assert (document["attempts"], document["callback"]["attempts"]) == (1, 1)
    finally:
        await asyncio.to_thread(first.start)
        assert await asyncio.to_thread(second.terminate) == 0
        own_stack.services.remove(second)


async def test_loopback_is_refused_unless_it_is_opened(own_stack: Stack, own_api: Api, target: Target) -> None:
    """Without CAROM_EGRESS_ALLOW, and where CAROM_EGRESS_DENY says so with it, even this machine's own addresses and
    names that lead to them are refused, and the target is never connected to."""
    usual = own_stack.executor
    assert await asyncio.to_thread(usual.terminate) == 0
    endpoint, callback = target.endpoint(), target.endpoint()
    by_name = endpoint.url.replace("127.0.0.1", "localhost")
    loopback = "refused by the egress guard: 127.0.0.1 is a loopback address"
    denied = "refused by the egress guard: 127.0.0.1 is denied by configuration"
    cases = (({"CAROM_EGRESS_ALLOW": ""}, loopback), ({"CAROM_EGRESS_DENY": "127.0.0.0/8,::1"}, denied))
    try:
        for env, error in cases:
            strict = own_stack.add("executor")
            own_stack.services.remove(strict)
            strict.env |= env
            await asyncio.to_thread(strict.start)
            try:
                jobs = [await own_api.submit(url, callback.url, **FAST) for url in (endpoint.url, by_name)]
                literal, named = await asyncio.gather(*map(own_api.wait_for_callback, jobs))
            finally:
                assert await asyncio.to_thread(strict.terminate) == 0
            assert (literal["status"], literal["attempts"], literal["error"]) == ("failed", 1, error)
            assert (named["status"], named["attempts"]) == ("failed", 1)
            assert named["error"].startswith("refused by the egress guard: ")
    finally:
        await asyncio.to_thread(usual.start)
    assert endpoint.requests == []
    assert len(callback.requests) == 4


async def accepted(api: Api, target: Target) -> str | None:
    """The id of a small job, or None for a 503 as it must be."""
    answer = await api.post({"targetUrl": target.endpoint().url, "callbackUrl": target.endpoint().url})
    if answer.status_code == 202:
        return str(answer.json()["jobId"])
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    problem = answer.json()
    assert (problem["status"], problem["requestId"]) == (503, answer.headers["x-request-id"])
    assert "unknown" in problem["detail"]
    return None


async def test_rabbitmq_goes_away(
    own_servers: Servers, own_stack: Stack, own_api: Api, target: Target, admin: httpx.AsyncClient
) -> None:
    """503 with Retry-After meanwhile, and jobs can still be looked at; the work under way and the next jobs are done
    when it is back, by the same processes."""
    pids = [service.pid for service in own_stack.services]
    endpoint, callback = target.endpoint(respond(delay=1.5)), target.endpoint()
    running = await own_api.submit(endpoint.url, callback.url)
    await endpoint.one()
    await asyncio.to_thread(own_servers.rabbitmq.stop)
    try:

        async def refused() -> bool:
            return await accepted(own_api, target) is None

        await eventually(refused, "intake answers 503")
        assert (await own_api.typed(running))["jobId"] == running
        verbose = await admin.get(f"{own_stack.intake.admin}/readyz?verbose")
        assert (verbose.status_code, verbose.json()["broker"]) == (200, "not connected")
        for service in (own_stack.executor, own_stack.callback):
            assert (await admin.get(f"{service.admin}/readyz")).status_code == 503
            assert (await admin.get(f"{service.admin}/livez")).status_code == 200
        refusals = (await read_metrics(admin, own_stack.intake))["carom_submissions_refused_total", ("503",)]
        assert refusals >= 1
    finally:
        await asyncio.to_thread(own_servers.rabbitmq.start)
    job_id = await eventually(lambda: accepted(own_api, target), "a job is accepted again", interval=0.1)
    await own_api.wait_for_callback(job_id, "delivered")
    await own_api.wait_for_callback(running, "delivered")
    assert len(endpoint.requests) == 1, "the redelivery attaches to the call that still runs"
    assert [service.pid for service in own_stack.services] == pids


async def test_redis_takes_no_writes(
    own_servers: Servers, own_stack: Stack, own_api: Api, target: Target, admin: httpx.AsyncClient
) -> None:
    """A full Redis answers pings: intake refuses all the same, before it publishes what it could not record."""
    async with redis.asyncio.Redis.from_url(own_servers.redis.url) as store:
        await store.config_set("maxmemory", 1)
        try:

            async def known_as_full() -> bool:
                verbose = await admin.get(f"{own_stack.intake.admin}/readyz?verbose")
                return str(verbose.json()["store"]) == "not available"

            await eventually(known_as_full, "intake knows that Redis is full")
            assert await accepted(own_api, target) is None
        finally:
            await store.config_set("maxmemory", 0)
    job_id = await eventually(lambda: accepted(own_api, target), "a job is accepted again", interval=0.1)
    await own_api.wait_for_callback(job_id, "delivered")


async def test_redis_goes_away(
    own_servers: Servers, own_stack: Stack, own_api: Api, target: Target, admin: httpx.AsyncClient
) -> None:
    """503 meanwhile for posting and looking; a call under way is settled when it is back."""
    pids = [service.pid for service in own_stack.services]
    endpoint, callback = target.endpoint(respond(delay=1)), target.endpoint()
    running = await own_api.submit(endpoint.url, callback.url)
    await endpoint.one()
    await asyncio.to_thread(own_servers.redis.stop)
    try:

        async def refused() -> bool:
            return await accepted(own_api, target) is None

        await eventually(refused, "intake answers 503")
        for path in (f"/api/job/{running}", f"/api/jobs/{running}"):
            answer = await own_api.http.get(path)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["content-type"] == "application/problem+json"
        verbose = await admin.get(f"{own_stack.intake.admin}/readyz?verbose")
        assert (verbose.status_code, verbose.json()["store"]) == (200, "not available")
        for service in own_stack.services:
            assert (await admin.get(f"{service.admin}/livez")).status_code == 200
    finally:
        await asyncio.to_thread(own_servers.redis.start)
    job_id = await eventually(lambda: accepted(own_api, target), "a job is accepted again", interval=0.1)
    await own_api.wait_for_callback(job_id, "delivered")
    await own_api.wait_for_callback(running, "delivered")
    assert len(endpoint.requests) == 1
    assert [service.pid for service in own_stack.services] == pids


async def test_a_broker_that_does_not_answer(
    own_servers: Servers, own_stack: Stack, own_api: Api, target: Target
) -> None:
    """Connected and silent: no confirm comes, so after some seconds the answer is 503, not 202."""
    own_servers.rabbitmq.freeze()
    try:
        started = time.monotonic()
        assert await accepted(own_api, target) is None
        assert 1 < time.monotonic() - started < 15
    finally:
        own_servers.rabbitmq.resume()
    job_id = await eventually(lambda: accepted(own_api, target), "a job is accepted again", interval=0.1)
    await own_api.wait_for_callback(job_id, "delivered")


async def test_a_new_replica_is_ready_once_it_can_take_jobs(servers: Servers, target: Target, tmp_path: Path) -> None:
    """Or a balancer would send it what it can only refuse."""
    for number in range(3):
        env = {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}
        replica = Service("intake", env, log=tmp_path / f"intake-{number}.log")
        try:
            await asyncio.to_thread(replica.start)
            async with httpx.AsyncClient(base_url=replica.url, trust_env=False) as client:
                job = {"targetUrl": target.endpoint().url, "callbackUrl": None}
                answer = await client.post("/api/jobs", json=job)
            assert answer.status_code == 202, answer.text
        finally:
            await asyncio.to_thread(replica.terminate)


async def test_starting_before_the_servers(
    own_servers: Servers, own_stack: Stack, own_api: Api, target: Target, admin: httpx.AsyncClient
) -> None:
    """Services that start first say that they wait, and work as soon as the servers are there."""
    assert set((await asyncio.to_thread(own_stack.stop)).values()) == {0}
    await asyncio.to_thread(own_servers.rabbitmq.stop)
    await asyncio.to_thread(own_servers.redis.stop)
    for service in own_stack.services:
        await asyncio.to_thread(service.start, wait=False)
    await asyncio.to_thread(own_stack.intake.wait_ready)
    try:
        assert await accepted(own_api, target) is None
        assert (await own_api.http.get(f"/api/jobs/{uuid.uuid4()}")).status_code == 503

        async def alive_and_not_ready(service: Service) -> bool:
            with contextlib.suppress(httpx.TransportError):
                live, ready = [(await admin.get(service.admin + path)).status_code for path in ("/livez", "/readyz")]
                return (live, ready) == (200, 503)
            return False

        for service in (own_stack.executor, own_stack.callback):
            await eventually(lambda service=service: alive_and_not_ready(service), f"{service.name} waits")  # type: ignore[misc]
    finally:
        await asyncio.to_thread(own_servers.redis.start)
        await asyncio.to_thread(own_servers.rabbitmq.start)
    job_id = await eventually(lambda: accepted(own_api, target), "a job is accepted", interval=0.1)
    await own_api.wait_for_callback(job_id, "delivered")


# Bad configuration


BAD: list[tuple[str, str, str]] = [
    ("intake", "RABBITMQ_URL", "http://user:hunter2@localhost"),
    ("intake", "REDIS_URL", "hunter2"),
    ("intake", "CAROM_PORT", "http"),
    ("intake", "CAROM_ADMIN_PORT", "65536"),
    ("intake", "CAROM_LOG_LEVEL", "loud"),
    ("intake", "CAROM_LOG_FORMAT", "xml"),
    ("intake", "CAROM_LOG_SAMPLE", "1.5"),
    ("executor", "OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2:4318"),
    ("intake", "OTEL_TRACES_SAMPLER", "always_on"),
    ("callback", "OTEL_TRACES_SAMPLER_ARG", "-0.1"),
    ("intake", "OTEL_BSP_MAX_QUEUE_SIZE", "10"),
    ("executor", "CAROM_TRACE_ERRORS", "perhaps"),
    ("intake", "CAROM_SHUTDOWN_TIMEOUT", "0"),
    ("intake", "CAROM_RETENTION", "59"),
    ("intake", "CAROM_DEAD_RETENTION", "two weeks"),
    ("intake", "CAROM_CONSUMER_TIMEOUT", "300"),
    ("intake", "CAROM_MAX_PAYLOAD", "0"),
    ("intake", "CAROM_MAX_BODY", "1e9"),
    ("intake", "CAROM_MAX_BATCH_BODY", "1023"),
    ("intake", "CAROM_MAX_BACKLOG", "0"),
    ("intake", "CAROM_MAX_STREAMS", "none"),
    ("intake", "CAROM_STREAM_SECONDS", "0"),
    ("intake", "CAROM_DESTINATIONS", "[]"),
    ("executor", "CAROM_DESTINATION_CONCURRENCY", "0"),
    ("executor", "CAROM_CIRCUIT_FAILURES", "-1"),
    ("executor", "CAROM_CIRCUIT_OPEN", "soon"),
    ("executor", "CAROM_EGRESS_ALLOW", "10.0.0.0/33"),
    ("executor", "CAROM_EGRESS_DENY", "10.0.0.0/8, not a host"),
    ("intake", "CAROM_EGRESS_SCHEMES", "http,gopher"),
    ("intake", "CAROM_EGRESS_PORTS", "443,http"),
    ("executor", "CAROM_EGRESS_BLOCKED_PORTS", "default,70000"),
    ("intake", "CAROM_EGRESS_RULES", '{"shop": {"target": []}}'),
    ("executor", "CAROM_EGRESS_PROXY", "https://proxy:3128"),
    ("executor", "CAROM_EGRESS_TLS", '{"api.test": {"ca": "/nowhere/ca.pem"}}'),
    ("executor", "CAROM_MAX_RESPONSE", "-1"),
    ("executor", "CAROM_EXECUTOR_CONCURRENCY", "0"),
    ("executor", "CAROM_EXECUTOR_MAX_HELD", "-1"),
    ("executor", "CAROM_CONSUMER_TIMEOUT", "360"),
    ("executor", "CAROM_DECLARE_TOPOLOGY", "perhaps"),
    ("callback", "CAROM_CALLBACK_CONCURRENCY", "many"),
    ("callback", "CAROM_CALLBACK_MAX_HELD", "10001"),
    ("intake", "CAROM_AUTH", "hunter2"),
    ("intake", "CAROM_KEYS_FILE", ""),
    ("intake", "CAROM_KEYS_FILE", "/nowhere/keys.json"),
    ("callback", "CAROM_CALLBACK_TIMEOUT", "0"),
    ("callback", "CAROM_CALLBACK_DELAYS", "5,soon"),
    ("callback", "CAROM_CALLBACK_DELAYS", "0.01"),
    ("callback", "CAROM_CALLBACK_SECRET", "whsec_hunter2"),
    ("executor", "CAROM_CALLBACK_SECRET", "whsk_hunter2"),
    ("intake", "CAROM_SIGNING_FILE", "/nowhere/signing.json"),
    ("callback", "CAROM_ENCRYPTION_KEYS", "a1:hunter2"),
    ("executor", "CAROM_SENSITIVE_HEADERS", "X Y"),
    *(
        ("callback", f"CAROM_{part}_{kind}_FILE", "/nowhere/tls.pem")
        for part in ("BROKER", "STORE")
        for kind in ("CA", "CERT", "KEY")
    ),
    ("intake", "CAROM_HEAD_TIMEOUT", "0"),
    ("intake", "CAROM_BODY_TIMEOUT", "soon"),
    ("intake", "CAROM_KEY_RATE", "-1"),
    ("intake", "CAROM_KEY_BURST", "1.5"),
    ("intake", "CAROM_TENANT_JOBS", "-1"),
    ("intake", "CAROM_TENANT_BYTES", "many"),
    ("intake", "CAROM_OPERATOR_TENANT", "No Tenant"),
    ("intake", "CAROM_TRUSTED_PROXIES", "10.0.0.0/99"),
    ("intake", "CAROM_OIDC_AUDIENCE", "hunter2"),
    ("intake", "CAROM_OIDC_JWKS_URL", "hunter2"),
    ("intake", "CAROM_OIDC_CA_FILE", "/nowhere/ca.pem"),
    ("intake", "CAROM_OIDC_TENANT_CLAIM", ""),
    ("intake", "CAROM_OIDC_SCOPE_CLAIM", ""),
    ("intake", "CAROM_OIDC_LEEWAY", "-1"),
]


async def run(command: list[str], **env: str) -> tuple[int | None, list[str]]:
    """Exit code and output of a process that should end by itself; None when it had to be killed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CAROM_", "RABBIT", "REDIS"))}
    # Nobody listens there: a service that starts after all finds no server of anybody else.
    nobody = {"RABBITMQ_URL": "amqp://127.0.0.1:9", "REDIS_URL": "redis://127.0.0.1:9", "CAROM_HOST": "127.0.0.1"}
    ports = {"CAROM_PORT": str(free_port()), "CAROM_ADMIN_PORT": str(free_port())}
    process = await asyncio.create_subprocess_exec(
        *command,
        env=clean | nobody | ports | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        return None, (await process.communicate())[0].decode().splitlines()
    return process.returncode, output.decode().splitlines()


async def run_service(kind: str, **env: str) -> tuple[int | None, list[str]]:
    return await run([str(Path(sys.prefix) / "bin" / f"carom-{kind}")], **env)


FORKING = """
import importlib, json, os, signal, sys
main = importlib.import_module(f"carom_{sys.argv[1]}.main").main
found = []
cases = json.loads(sys.argv[2])
del sys.argv[1:]
for name, value in cases:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.dup2(write, 1)
        os.dup2(write, 2)
        os.close(read)
        os.environ[name] = value
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code)
        os._exit(0)
    os.close(write)
    with open(read) as output:
        lines = output.read().splitlines()
    found.append((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lines))
print(json.dumps(found))
"""
"""Starts a service once for each bad value, in forks of one process: importing it takes most of a start."""


async def test_every_bad_variable_stops_the_start() -> None:
    """Exit code 2 and one line that names the variable and not its value."""

    async def check(kind: str) -> list[str]:
        cases = [(name, value) for case_kind, name, value in BAD if case_kind == kind]
        code, lines = await run([sys.executable, "-c", FORKING, kind, json.dumps(cases)])
        assert code == 0, lines
        return [
            f"{kind} {name}={value}: exit {code}, {lines}"
            for (name, value), (code, lines) in zip(cases, json.loads(lines[-1]), strict=True)
            if not (code == 2 and len(lines) == 1 and name in lines[0] and "hunter2" not in lines[0])
        ]

    assert await asyncio.gather(*map(check, ("intake", "executor", "callback"))) == [[], [], []]
    # No variable is left out but the host, which any text may name, and the issuer, which alone is told what it lacks.
    kinds: list[type[Settings]] = [IntakeSettings, ExecutorSettings, CallbackSettings]
    known = {variable(kind, field) for kind in kinds for field in kind.model_fields}
    assert known - {name for _, name, _ in BAD} == {"CAROM_HOST", "CAROM_OIDC_ISSUER"}


async def test_several_bad_variables_are_named_together() -> None:
    code, lines = await run_service("callback", CAROM_LOG_LEVEL="loud", CAROM_CALLBACK_TIMEOUT="-1")
    assert code == 2
    assert len(lines) == 1
    assert "CAROM_LOG_LEVEL" in lines[0]
    assert "CAROM_CALLBACK_TIMEOUT" in lines[0]


@pytest.mark.parametrize(
    ("kind", "name", "what"),
    [
        ("intake", "CAROM_PORT", "the API"),
        ("intake", "CAROM_ADMIN_PORT", "the admin port"),
        ("executor", "CAROM_ADMIN_PORT", "the admin port"),
    ],
)
async def test_a_port_that_is_taken(kind: str, name: str, what: str) -> None:
    """The process ends, and one line says which port is taken and what for; no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, lines = await run_service(kind, CAROM_LOG_FORMAT="json", CAROM_AUTH="off", **{name: port})
    assert code == 1
    failures = [event for event in map(json.loads, lines) if event["level"] in ("error", "critical")]
    assert [event["event"] for event in failures] == ["service_failed"]
    assert failures[0]["reason"] == f"cannot listen on 127.0.0.1:{port} for {what}: Address already in use"


async def test_declare_topology_by_itself(servers: Servers) -> None:
    """The command declares everything, again too, and ends; a service that is told not to declares nothing."""
    rabbitmq = servers.rabbitmq
    rabbitmq.ctl("add_vhost", "declared")
    rabbitmq.ctl("set_permissions", "-p", "declared", "guest", ".*", ".*", ".*")
    env = {"RABBITMQ_URL": f"{rabbitmq.url}declared", "CAROM_LOG_FORMAT": "json"}

    def queues() -> set[str]:
        return set(rabbitmq.ctl("-q", "list_queues", "-p", "declared", "--no-table-headers", "name").split())

    passive = Service(
        "executor",
        env | {"REDIS_URL": servers.redis.url, "CAROM_DECLARE_TOPOLOGY": "false"},
        log=servers.directory / "passive.log",
    )
    passive.start(wait=False)
    try:
        await eventually(
            lambda: "consumer_disconnected" in (servers.directory / "passive.log").read_text(), "it found no queue"
        )
        assert not passive.ready
        assert queues() == set()
        for _ in range(2):
            code, lines = await run([str(Path(sys.prefix) / "bin" / "carom-intake"), "declare-topology"], **env)
            assert code == 0, lines
            assert json.loads(lines[-1])["event"] == "topology_declared"
        assert queues() == {queue.name for queue in QUEUES}
        passive.wait_ready(10)
    finally:
        passive.kill()
        rabbitmq.ctl("delete_vhost", "declared")
