"""Which queue a job comes into: that of its priority, or the one of what may have to wait."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.integration.conftest import ENV, Servers
from tests.support.client import Api
from tests.support.target import Target
from tests.support.waiting import eventually

from devstack.ports import free_port
from devstack.services import Stack

pytestmark = pytest.mark.stack

VHOST = "lanes"
LOOK_SECONDS = 1.5
"""How soon one process knows what another one tells."""


@pytest.fixture(scope="module")
def idle(servers: Servers) -> Iterator[Stack]:
    """A stack whose executors the tests stop to see what is queued."""
    servers.rabbitmq.ctl("add_vhost", VHOST)
    servers.rabbitmq.ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    env = ENV | {"CAROM_CIRCUIT_FAILURES": "2", "CAROM_CIRCUIT_OPEN": "60"}
    with Stack(
        f"{servers.rabbitmq.url}{VHOST}",
        f"{servers.redis.url}/8",
        log=servers.directory / VHOST,
        env=env,
        replicas={"intake": 2},
    ) as stack:
        yield stack
    servers.rabbitmq.ctl("delete_vhost", VHOST)


@pytest.fixture
async def own(idle: Stack) -> AsyncIterator[Api]:
    client = Api(idle.api)
    yield client
    await client.aclose()


async def has_queued(servers: Servers, **expected: int) -> None:
    """Until the queues that executors consume have so many messages: RabbitMQ counts them every 5 s."""

    def queued() -> dict[str, int]:
        lines = servers.rabbitmq.ctl("list_queues", "-p", VHOST, "--silent", "name", "messages").splitlines()
        counts = (line.split("\t") for line in lines if line.startswith("carom.execute."))
        return {name.removeprefix("carom.execute."): int(count) for name, count in counts if int(count)}

    await eventually(lambda: queued() == expected, f"{expected} are queued", interval=1)


async def test_a_host_that_answered_has_the_queue_of_the_priority(own: Api, idle: Stack, servers: Servers) -> None:
    async with Target() as target, Target() as stranger:
        place, unknown = target.endpoint(), stranger.endpoint()
        await own.wait_for_status(await own.submit(place.url))
        await asyncio.sleep(2 * LOOK_SECONDS)  # the executor tells, and intake looks
        await asyncio.to_thread(idle.executor.terminate)
        try:
            jobs = [await own.submit(place.url)]
            for priority in ("high", "normal", "low"):
                jobs.append(await own.submit(unknown.url, priority=priority))
            await has_queued(servers, normal=1, held=1, high=1, low=1)
        finally:
            await asyncio.to_thread(idle.executor.start)
        for job in jobs:
            assert (await own.wait_for_status(job))["status"] == "completed"


async def test_an_open_circuit_sends_new_jobs_beside_the_others(own: Api, idle: Stack, servers: Servers) -> None:
    async with Target() as target:
        url = target.endpoint().url
        await own.wait_for_status(await own.submit(url))
    for _ in range(2):  # nobody listens there any more
        await own.wait_for_status(await own.submit(url, maxRetries=0))
    await asyncio.sleep(2 * LOOK_SECONDS)
    await asyncio.to_thread(idle.executor.terminate)
    try:
        job = await own.submit(url)
        await has_queued(servers, held=1)
        assert (await own.http.delete(f"/api/jobs/{job}")).status_code == 200
    finally:
        await asyncio.to_thread(idle.executor.start)


async def test_a_retry_after_a_call_that_found_nobody_comes_back_beside_the_others(
    own: Api, idle: Stack, servers: Servers
) -> None:
    job = await own.submit(
        f"http://127.0.0.1:{free_port()}/", priority="normal", retryDelay=3000, retry={"strategy": "fixed"}
    )
    await own.wait_for_status(job, "waiting")
    await asyncio.to_thread(idle.executor.terminate)
    try:
        await has_queued(servers, held=1)
        assert (await own.http.delete(f"/api/jobs/{job}")).status_code == 200
    finally:
        await asyncio.to_thread(idle.executor.start)
