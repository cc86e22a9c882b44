"""carom-fsck: what was lost is found and repaired, and what was not is left alone. A stack of its own, to lose things from."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest
import redis.asyncio
from aio_pika.abc import AbstractChannel
from tests.integration.conftest import ENV, Servers
from tests.support import acl, rights
from tests.support.client import Api, connected
from tests.support.fsck import Fsck
from tests.support.logs import Logs
from tests.support.target import HANG, Endpoint, Target, respond
from tests.support.waiting import eventually

from carom_common.domain.buckets import BUCKETS
from carom_common.topology import (
    CALLBACK_QUEUE,
    DEAD_CALLBACK_QUEUE,
    DEAD_EXECUTE_QUEUE,
    EXECUTE_QUEUES,
    HELD_EXECUTE_QUEUE,
)
from devstack.servers import Redis
from devstack.services import KINDS, Stack

pytestmark = pytest.mark.stack

VHOST = "fsck"
WORK_QUEUES = (*EXECUTE_QUEUES.values(), HELD_EXECUTE_QUEUE, CALLBACK_QUEUE)
DELAYS_TO_25_S = tuple(f"carom.delay.{bucket}" for bucket in BUCKETS if bucket <= 25_000)
FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}}
JOBS, CALLBACKS = "job-without-message", "callback-not-published"
LETTERS, INDEXES = "dead-letter-without-record", "record-not-in-index"


@pytest.fixture(scope="module")
def store(servers: Servers) -> Iterator[Redis]:
    file = servers.directory / "fsck-users.acl"
    file.write_text(acl.aclfile())
    with Redis(servers.directory / "redis-of-fsck", settings={"aclfile": str(file)}) as store:
        yield store


@pytest.fixture(scope="module")
def own_stack(store: Redis, servers: Servers) -> Iterator[Stack]:
    ctl = servers.rabbitmq.ctl
    ctl("add_vhost", VHOST)
    ctl("set_permissions", "--vhost", VHOST, "guest", ".*", ".*", ".*")
    with Stack(
        servers.rabbitmq.url + VHOST,
        store.url,
        log=servers.directory / "fsck",
        env=ENV,
        service_env={kind: {"REDIS_URL": acl.url(store.url, f"carom-{kind}")} for kind in KINDS},
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
async def own_api(own_stack: Stack) -> AsyncIterator[Api]:
    await connected(own_stack.intake)
    client = Api(own_stack.api)
    yield client
    await client.aclose()


@pytest.fixture(scope="module")
def fsck(store: Redis, servers: Servers, own_stack: Stack) -> Fsck:
    """With no more rights than k8s/rabbitmq and k8s/redis give it."""
    user, ctl = "carom-fsck", servers.rabbitmq.ctl
    ctl("add_user", user, rights.password(user))
    ctl("set_permissions", "--vhost", VHOST, user, *rights.rights()[user])
    url = f"amqp://{user}:{rights.password(user)}@127.0.0.1:{servers.rabbitmq.port}/{VHOST}"
    return Fsck({"RABBITMQ_URL": url, "REDIS_URL": acl.url(store.url, "carom-intake")})


@pytest.fixture(scope="module")
async def channel(servers: Servers, own_stack: Stack) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(servers.rabbitmq.url + VHOST) as connection:
        yield await connection.channel()


@pytest.fixture(scope="module")
async def keys(store: Redis) -> AsyncIterator["redis.asyncio.Redis[str]"]:
    async with redis.asyncio.Redis.from_url(store.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def own_logs(servers: Servers) -> Logs:
    return Logs(servers.directory / "fsck")


Purge = Callable[..., Awaitable[int]]


@pytest.fixture(scope="module")
def purge(channel: AbstractChannel) -> Purge:
    """Lose what is in some queues; gives how much that was."""

    async def lose(*queues: str) -> int:
        lost = 0
        for name in queues:
            queue = await channel.get_queue(name, ensure=False)
            lost += (await queue.purge()).message_count or 0
        return lost

    return lose


@pytest.fixture
async def paused(own_api: Api, own_logs: Logs) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Nothing is executed until what this gives is called."""
    before = len(own_logs.events(event="consumer_paused"))
    await own_api.http.post("/api/pause", json={})
    await own_logs.wait_for(before + 1, event="consumer_paused")
    resumed = len(own_logs.events(event="consumer_resumed"))

    async def resume() -> None:
        assert (await own_api.http.post("/api/resume", json={})).is_success
        await own_logs.wait_for(resumed + 1, event="consumer_resumed")

    yield resume
    await own_api.http.post("/api/resume", json={})


async def ended_once(api: Api, endpoint: Endpoint, receiver: Endpoint, jobs: list[str], calls: int = 1) -> None:
    """Every job completed and was called back, and nothing came twice."""
    for job_id in jobs:
        document = await api.wait_for_callback(job_id)
        assert (document["status"], document["callback"]["status"]) == ("completed", "delivered"), document
    assert len(endpoint.requests) == calls * len(jobs)
    told = sorted(request.header("webhook-id") or "" for request in receiver.requests)
    assert told == sorted(f"{job_id}_1_completed" for job_id in jobs)


# Nothing is wrong


async def test_with_traffic_and_nothing_lost_it_finds_nothing_even_twice_at_once(
    own_api: Api, fsck: Fsck, target: Target
) -> None:
    """Slow calls hold the slots, retries go through delay buckets, and deliveries wait in the consumers' hands."""
    slow, flaky = target.endpoint(respond(200, delay=0.3)), target.endpoint(*[respond(503)] * 40, respond(200))
    receiver = target.endpoint()
    ends, jobs = time.monotonic() + 9, list[str]()

    async def traffic() -> None:
        while time.monotonic() < ends:
            jobs.extend(await asyncio.gather(*(own_api.submit(slow.url, receiver.url) for _ in range(40))))
            retried = (own_api.submit(flaky.url, receiver.url, maxRetries=10, **FAST) for _ in range(5))
            jobs.extend(await asyncio.gather(*retried))
            await asyncio.sleep(0.3)

    running = asyncio.create_task(traffic())
    await asyncio.sleep(1.5)
    first, second = await asyncio.gather(fsck("--repair", grace=0.5), fsck("--repair", grace=0.5))
    third = await fsck(grace=0.5)
    await running
    for ran in (first, second, third):
        assert (ran.code, ran.all_found, ran.report["notJudged"]) == (0, 0, []), ran
    for job_id in jobs:
        assert (await own_api.wait_for_callback(job_id))["callback"]["status"] == "delivered"
    assert len(receiver.requests) == len(jobs)
    assert len(slow.requests) + len(flaky.requests) == len(jobs) + 40
    assert first.report["suspects"] + second.report["suspects"] + third.report["suspects"] > 0, "nothing was asked about"
