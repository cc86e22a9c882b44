"""For how long the oldest job that is due was not begun, however many others are in front: on a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.integration.conftest import Servers
from tests.integration.test_lists import THEN, put, tenant
from tests.support.records import job, record

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.records import state_key
from carom_common.adapters.store.stats import Stats
from carom_common.domain.clock import now_ms

__all__ = ["tenant"]

HOUR = 3_600_000
LOOK = 400
"""How many entries a look reads here."""


@pytest.fixture
async def batcher(servers: Servers) -> AsyncIterator[Batcher]:
    batcher = Batcher(servers.redis.url)
    yield batcher
    await batcher.close()


async def ready(batcher: Batcher, tenant: str, created: int, seconds: float) -> str:
    """A job that has been due for so long."""
    job_id, commands = record(tenant, created, job(), status="queued")
    await put(batcher, [*commands, ("HSET", state_key(job_id), "updated", now_ms() - int(seconds * 1000))])
    return job_id


async def not_due(batcher: Batcher, tenant: str, created: int, count: int) -> None:
    """Jobs that are scheduled or held, in turn."""
    for number in range(count):
        job_id, commands = record(tenant, created + number, job(), status="waiting" if number % 2 else "scheduled")
        why = ("eta", now_ms() + HOUR) if number % 2 == 0 else ("wait_reason", "paused")
        await put(batcher, [*commands, ("HSET", state_key(job_id), *why)])


async def seconds_of(stats: Stats, tenant: str) -> float:
    return (await stats.now(tenant, LOOK)).oldest_ready_ms / 1000


async def test_of_few_it_is_the_oldest_and_none_is_none(batcher: Batcher, tenant: str) -> None:
    stats = Stats(batcher)
    await not_due(batcher, tenant, THEN, 3)
    assert await seconds_of(stats, tenant) == 0
    await ready(batcher, tenant, THEN + 10, 20)
    await ready(batcher, tenant, THEN + 11, 50)
    assert 50 <= await seconds_of(stats, tenant) < 60


async def test_it_is_found_behind_many_that_are_not_due_and_told_for_as_long_as_it_stands(
    batcher: Batcher, tenant: str
) -> None:
    """A look goes on where the one before it stopped, and looks again at what was found."""
    stats = Stats(batcher)
    await not_due(batcher, tenant, THEN, 2 * LOOK)
    standing = await ready(batcher, tenant, THEN + HOUR, 100)
    await not_due(batcher, tenant, THEN + 2 * HOUR, LOOK)
    assert [await seconds_of(stats, tenant) for _ in range(2)] == [0, 0]
    told = []
    for _ in range(4):
        told.append(await seconds_of(stats, tenant))
        await asyncio.sleep(0.05)
    assert told == sorted(told)
    assert 100 <= told[0] < told[-1] < 110
    await batcher.run("HSET", state_key(standing), "status", "running")
    assert [await seconds_of(stats, tenant) for _ in range(4)] == [0] * 4


async def test_what_came_in_last_is_seen_at_the_first_look(batcher: Batcher, tenant: str) -> None:
    """Nothing begins any more: what comes in now stands, though thousands in front are only scheduled."""
    stats = Stats(batcher)
    await not_due(batcher, tenant, THEN, 2 * LOOK)
    await ready(batcher, tenant, THEN + HOUR, 30)
    assert 30 <= await seconds_of(stats, tenant) < 40


async def test_an_older_one_that_is_found_later_counts(batcher: Batcher, tenant: str) -> None:
    stats = Stats(batcher)
    await not_due(batcher, tenant, THEN, 2 * LOOK)
    await ready(batcher, tenant, THEN + HOUR, 300)
    await not_due(batcher, tenant, THEN + 2 * HOUR, LOOK)
    await ready(batcher, tenant, THEN + 3 * HOUR, 30)
    found = [await seconds_of(stats, tenant) for _ in range(3)]
    assert 30 <= found[0] <= found[1] < 40
    assert 300 <= found[2] < 310
