"""Metrics and wide events of running services: what moves, what does not, and what leads from one to the other."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from redis import Redis as Client
from tests.integration.conftest import Servers
from tests.integration.test_running import FAST, read_metrics
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from carom_common.adapters.store.store import MARK_KEY
from devstack.ports import free_port
from devstack.services import Stack

HOSTS = 1000
LISTENING = 50


@pytest.fixture
async def admin() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield client


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()


def addresses() -> Iterator[str]:
    for number in range(HOSTS):
        yield f"127.0.{2 + number // 250}.{1 + number % 250}"


async def test_a_thousand_hosts_make_no_series(stack: Stack, api: Api, admin: httpx.AsyncClient) -> None:
    """Some answer, at most nobody listens: every outcome of a call is among them, and no name of a host."""
    names = list(addresses())
    server = await asyncio.start_server(answer, names[:LISTENING], 0)
    ports = {sock.getsockname()[0]: sock.getsockname()[1] for sock in server.sockets}
    before = await read_metrics(admin, *stack.services)
    nobody = free_port()
    jobs = [
        {"targetUrl": f"http://{name}:{ports.get(name, nobody)}/", "callbackUrl": None, "maxRetries": 0}
        for name in names
    ]
    async with server:
        accepted = await api.http.post("/api/jobs/batch", json={"jobs": jobs})
        assert {entry["status"] for entry in accepted.json()["jobs"]} == {202}

        async def all_called() -> bool:
            now = await read_metrics(admin, stack.executor)
            return sum(now["carom_attempts_total", (how,)] for how in ("completed", "exhausted")) >= HOSTS + sum(
                before["carom_attempts_total", (how,)] for how in ("completed", "exhausted")
            )

        await eventually(all_called, "a thousand calls", 90, 0.5)
    after = await read_metrics(admin, *stack.services)
    assert after["carom_attempts_total", ("completed",)] - before["carom_attempts_total", ("completed",)] == LISTENING
    assert after["carom_destinations", ()] >= HOSTS
    made = after.keys() - before.keys()
    # The gauges that had nothing to tell so soon after the start.
    assert {name for name, _ in made} <= {"carom_destination_retries_highest", "carom_owed_messages"}
    assert len(made) <= 2
    text = (await admin.get(f"{stack.executor.admin}/metrics")).text
    assert not any(name in text for name in names)


async def test_every_hop_is_measured_and_told_in_one_event(
    stack: Stack, api: Api, target: Target, logs: Logs, admin: httpx.AsyncClient
) -> None:
    before = await read_metrics(admin, *stack.services)
    endpoint = target.endpoint(respond(200, {"n": 1}, delay=0.08))
    job_id = await api.submit(endpoint.url, target.endpoint().url, method="POST", payload={"a": "b"}, **FAST)
    await api.wait_for_callback(job_id, "delivered")
    [accepted] = await logs.wait_for(event="job_accepted", job_id=job_id)
    [attempt] = await logs.wait_for(event="attempt", job_id=job_id)
    [callback] = await logs.wait_for(event="callback", job_id=job_id)
    after = await read_metrics(admin, *stack.services)

    def moved(name: str, *labels: str) -> float:  # values in the order of the labels' names
        return after[name, labels] - before[name, labels]

    for kind, step in (("accept", "publish"), ("accept", "record"), ("execute", "claim"), ("execute", "settle")):
        assert moved("carom_step_duration_seconds_count", kind, step) >= 1
    assert moved("carom_step_duration_seconds_count", "execute", "publish") >= 1
    assert moved("carom_step_duration_seconds_count", "callback", "claim") >= 1
    assert moved("carom_queue_wait_seconds_count", "no", "execute") >= 1
    assert moved("carom_queue_wait_seconds_count", "no", "callback") >= 1
    assert moved("carom_slot_wait_seconds_count", "execute") >= 1
    assert moved("carom_attempt_duration_seconds_sum") >= 0.08
    assert moved("carom_job_attempts_sum") >= 1
    assert moved("carom_callback_delivery_seconds_count") >= 1
    assert moved("carom_end_to_end_seconds_sum") >= 0.08
    assert moved("carom_publish_confirm_seconds_count") >= 2
    assert moved("carom_store_batch_commands_sum") >= moved("carom_store_batch_seconds_count") >= 4
    assert after["carom_broker_up", ()] == after["carom_store_up", ()] == 3
    assert after["carom_consumer_up", ()] == 2
    assert after["carom_event_loop_lag_seconds_count", ()] > before["carom_event_loop_lag_seconds_count", ()]
    assert after["carom_duty_led", ("sweep",)] == 1

    assert accepted["request_bytes"] > 50
    assert accepted["duration_ms"] >= accepted["publish_ms"] + accepted["record_ms"] > 0
    assert accepted["replayed"] is False
    assert attempt["outcome"] == "completed"
    assert attempt["ended"] == callback["ended"] == "acked"
    assert attempt["duration_ms"] >= 80
    assert attempt["queue"].startswith("carom.execute.")
    assert attempt["host"] == endpoint.url.split("/")[2]
    assert attempt["sent_bytes"] == len(b'{"a": "b"}')
    assert attempt["received_bytes"] > 0
    for event in (attempt, callback):
        assert event["tenant"] == "default"
        assert event["claims"] == event["generation"] == 1
        assert event["was_held"] is False
        assert event["queue_ms"] >= event["slot_ms"] >= 0 or event["queue_ms"] <= 1  # clocks in milliseconds
        assert min(event["claim_ms"], event["settle_ms"], event["publish_ms"]) >= 0


async def test_exemplars_lead_to_the_trace(stack: Stack, api: Api, target: Target, admin: httpx.AsyncClient) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    sampled = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    job_id = await api.submit(target.endpoint().url, target.endpoint().url, request_headers=sampled, **FAST)
    await api.wait_for_callback(job_id, "delivered")
    found = set()
    for service in stack.services:
        text = (await admin.get(f"{service.admin}/metrics", headers={"Accept": "application/openmetrics-text"})).text
        for family in parse_openmetrics(text):  # type: ignore[no-untyped-call]
            for sample in family.samples:
                if sample.exemplar is not None and sample.exemplar.labels == {"trace_id": trace}:
                    found.add(family.name)
        assert trace not in (await admin.get(f"{service.admin}/metrics")).text
    assert found == {
        "carom_submit_duration_seconds",
        "carom_queue_wait_seconds",
        "carom_attempt_duration_seconds",
        "carom_job_duration_seconds",
        "carom_callback_duration_seconds",
        "carom_callback_delivery_seconds",
        "carom_end_to_end_seconds",
    }


async def test_a_store_that_comes_back_empty_is_noticed(
    stack: Stack, servers: Servers, logs: Logs, admin: httpx.AsyncClient
) -> None:
    before = await read_metrics(admin, *stack.services)
    told = len(logs.events(event="store_emptied"))
    with Client.from_url(servers.redis.url) as store:
        assert store.delete(MARK_KEY) == 1
    await logs.wait_for(told + 1, event="store_emptied")

    async def counted() -> bool:
        after = await read_metrics(admin, *stack.services)
        return after["carom_store_emptied_total", ()] > before["carom_store_emptied_total", ()]

    await eventually(counted, "the count", 10, 0.2)
    await asyncio.sleep(2.5)  # the mark is there again: it is told once
    settled = await read_metrics(admin, *stack.services)
    assert settled["carom_store_emptied_total", ()] - before["carom_store_emptied_total", ()] <= 3
