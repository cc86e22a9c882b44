"""What those see who watch running services: which events are left out of the log, and a job that nobody begins."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from tests.integration.conftest import ENV, Servers
from tests.integration.test_running import read_metrics
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from devstack.services import Stack

pytestmark = pytest.mark.stack

LEAST = "0.0000001"
"""Of the ordinary events of ten million jobs those of one are kept."""
ORDINARY = ("job_accepted", "batch_accepted", "attempt", "callback")


@pytest.fixture(scope="module")
def sparing(servers: Servers) -> Logs:
    return Logs(servers.directory / "watching")


@pytest.fixture(scope="module")
def own_stack(servers: Servers, sparing: Logs) -> Iterator[Stack]:
    servers.rabbitmq.ctl("add_vhost", "watching")
    servers.rabbitmq.ctl("set_permissions", "-p", "watching", "guest", ".*", ".*", ".*")
    urls = f"{servers.rabbitmq.url}watching", f"{servers.redis.url}/10"
    with Stack(*urls, log=sparing.directory, env=ENV | {"CAROM_LOG_SAMPLE": LEAST}) as stack:
        yield stack
    servers.rabbitmq.ctl("delete_vhost", "watching")


@pytest.fixture
async def admin() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield client


async def test_what_fails_is_logged_though_the_ordinary_is_left_out(
    own_stack: Stack, own_api: Api, target: Target, sparing: Logs, admin: httpx.AsyncClient
) -> None:
    fixed = {"retryDelay": 100, "retry": {"strategy": "fixed"}}
    well = await own_api.submit(target.endpoint().url, target.endpoint().url, **fixed)
    tried_again = await own_api.submit(target.endpoint(respond(503), respond()).url, target.endpoint().url, **fixed)
    not_told = await own_api.submit(target.endpoint().url, target.endpoint(respond(410)).url, **fixed)
    for job_id, callback in ((well, "delivered"), (tried_again, "delivered"), (not_told, "failed")):
        await own_api.wait_for_callback(job_id, callback)
    await sparing.wait_for(event="callback", job_id=not_told)

    async def left_out() -> bool:
        """Three accepted, three attempts and two callbacks that went well: then nothing more is to come."""
        metrics = await read_metrics(admin, *own_stack.services)
        return metrics["carom_log_events_left_out_total", ()] >= 8

    await eventually(left_out, "events that were left out", 10)
    told = [
        (event["job_id"], event["event"], event["level"], event["outcome"], "sample_rate" in event)
        for event in sparing.events()
        if event["event"] in ORDINARY
    ]
    assert sorted(told) == sorted(
        [
            (tried_again, "attempt", "warning", "retried", False),
            (not_told, "callback", "warning", "gone", False),
        ]
    )


async def test_a_job_that_nobody_begins_grows_old(
    own_stack: Stack, own_api: Api, target: Target, admin: httpx.AsyncClient
) -> None:
    await asyncio.to_thread(own_stack.executor.terminate)
    endpoint = target.endpoint()
    job_id = await own_api.submit(endpoint.url)

    async def age() -> float:
        return (await read_metrics(admin, own_stack.intake))["carom_oldest_ready_age_seconds", ()]

    async def told() -> bool:
        return await age() > 1

    await eventually(told, "the gauge, which is set every 10 s", 25, 0.2)
    shown = (await own_api.http.get("/api/stats")).json()["oldestReadyAgeMs"] / 1000
    assert await age() <= shown < 30
    await asyncio.to_thread(own_stack.executor.start)
    await own_api.wait_for_status(job_id, "completed")

    async def nothing_waits() -> bool:
        return await age() == 0

    await eventually(nothing_waits, "the gauge is back", 25, 0.2)
