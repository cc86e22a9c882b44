"""The store's clock, by which leases run, goes back an hour: nothing waits an hour for who died before."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.clock import Clock
from tests.support.waiting import eventually

from carom_common.adapters.store.control import PROBE_LEASE_MS, ControlStore
from carom_common.adapters.store.duties import DutyLease
from carom_common.adapters.store.idempotency import IdempotencyKeys
from carom_common.adapters.store.store import Lease, Store
from carom_common.adapters.store.transitions import LEASE_MS
from carom_common.contracts.job import Job
from carom_common.contracts.message import VERSION, Attempt, CallbackMessage, ExecuteMessage
from devstack.server import Place
from devstack.servers import Redis

HOUR = 3600
TAKEN = Attempt(1, 200, True, "2026-01-01T00:00:00.000Z")
JOB = Job(target_url="http://t.example/", callback_url="http://c.example/")

Take = Callable[[], Awaitable[bool]]


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[Redis]:
    with Redis(tmp_path / "redis", place=Place(within=clock.within)) as server:
        yield server


def takes(store: Store, who: str) -> Mapping[str, Take]:
    """What only one may have at a time, as one process asks for it."""
    execute = ExecuteMessage(VERSION, "default", "executed", JOB, 1, 1, 1)
    call_back = CallbackMessage(VERSION, "default", "called", JOB, 1, "completed", 2, attempts=(TAKEN,))
    tell = CallbackMessage(VERSION, "default", "told", JOB, 1, "completed", 2, attempts=(TAKEN,), event="attempt")
    control = ControlStore(store.batcher, who)
    key = IdempotencyKeys(store.batcher, HOUR).key("default", "key", "body")

    async def executes() -> bool:
        return (await store.executions.claim(execute, Lease("executed", "m", who))).verdict == "run"

    async def calls_back() -> bool:
        return (await store.callbacks.claim(call_back, Lease("called", "m", who))).verdict == "run"

    async def tells() -> bool:
        return (await store.callbacks.claim(tell, Lease("told", "m", who))).verdict == "run"

    async def accepts() -> bool:
        return (await key.claim("job", 1)).verdict == "mine"

    async def calls() -> bool:
        return (await control.permits("h", 0, 1, 1, waits=False))[0] == 1

    async def probes() -> bool:
        return await control.probe("h", 1)

    return {
        "an attempt": executes, "a callback": calls_back, "an event": tells, "an idempotency key": accepts,
        "a permit": calls, "a probe": probes, "a duty": DutyLease(store.batcher, "sweep", who).take,
    }  # fmt: skip


@pytest.fixture
async def store(server: Redis) -> AsyncIterator[Store]:
    store = Store(server.url, HOUR * 24, HOUR * 24)
    yield store
    await store.close()


async def move(store: Store, clock: Clock, ahead: int) -> None:
    clock.set(ahead)

    async def told() -> bool:
        seconds, _ = await store.batcher.run("TIME")
        return abs(int(seconds) - time.time() - ahead) < 2

    await eventually(told, "the clock is another", 10, 0.1)


async def test_what_a_process_had_is_free_again_in_its_time(store: Store, clock: Clock) -> None:
    await move(store, clock, HOUR)
    dead, alive = takes(store, "dead"), takes(store, "alive")
    assert {what for what, take in dead.items() if await take()} == dead.keys()
    await move(store, clock, 0)
    assert {what for what, take in alive.items() if await take()} == set()
    await move(store, clock, max(LEASE_MS, PROBE_LEASE_MS) // 1000 + 5)
    assert {what for what, take in alive.items() if await take()} == alive.keys()


async def test_a_circuit_that_opened_before_is_not_told_as_opened_now_each_time(store: Store, clock: Clock) -> None:
    """Or it would stay open for an hour: nobody probes what has just been opened."""
    await move(store, clock, HOUR)
    control = ControlStore(store.batcher, "a")
    await control.open("h")
    await move(store, clock, 0)
    first = await control.look("", 0)
    await asyncio.sleep(1)
    [(host, opened_at)] = (again := await control.look(first.version, first.now)).opened
    assert (host, again.now - opened_at >= 1000) == ("h", True)
    assert await control.probe("h", 0)
