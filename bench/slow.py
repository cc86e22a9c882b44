"""Targets that take seconds: what one executor costs with thousands of calls under way, and what a second brings."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from bench.client import Client
from bench.endpoint import until
from bench.job import API_PATH, job
from bench.report import say, table, title
from bench.stand import Stand
from bench.usage import cpu_seconds
from devstack.errors import DevstackError

BATCH_JOBS = 1000
MANY, MANY_SECONDS, MANY_TURNS = 2000, 2.0, 5
"""Calls under way at once, how long each takes, and how often over."""
FEW, FEW_SECONDS, FEW_JOBS = 64, 0.5, 2000
"""Calls that one executor makes at once where two are compared."""
GOAL_CORES, GOAL_TIMES = 1.0, 1.7
ANY = "10000"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Slow:
    """A target that answers each request after so many seconds, and knows how many wait and when they came."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waiting = self.most = 0
        self.came: list[float] = []
        self.url = ""


class _Late(asyncio.Protocol):
    """One connection; a request is in one piece, as ours are."""

    def __init__(self, slow: Slow) -> None:
        self._slow = slow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST "):
            self._slow.came.append(time.monotonic())
            self._slow.waiting += 1
            self._slow.most = max(self._slow.most, self._slow.waiting)
            asyncio.get_running_loop().call_later(self._slow.seconds, self._answer)

    def _answer(self) -> None:
        self._slow.waiting -= 1
        self._transport.write(OK)


@asynccontextmanager
async def slow_target(seconds: float) -> AsyncIterator[Slow]:
    slow = Slow(seconds)
    server = await asyncio.get_running_loop().create_server(lambda: _Late(slow), "127.0.0.1", 0, backlog=4096)
    slow.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield slow
    finally:
        server.close()


class Run(NamedTuple):
    """`seconds` from the first call to the last, `cores` of all executors meanwhile."""

    calls: int
    most_at_once: int
    seconds: float
    cores: float
    complaints: list[str]


def run(executors: int, at_once: int, seconds: float, count: int) -> Run:
    """A backlog for one slow target, made while no executor runs."""
    env = {"CAROM_EXECUTOR_CONCURRENCY": str(at_once), "CAROM_DESTINATION_CONCURRENCY": ANY}
    with Stand(env=env, replicas={"executor": executors}) as stand:
        return asyncio.run(_run(stand, seconds, count))


async def _run(stand: Stand, seconds: float, count: int) -> Run:
    replicas = stand.stack.of("executor")
    for replica in replicas:
        if replica.terminate():
            raise DevstackError("an executor did not stop cleanly")
    async with slow_target(seconds) as slow:
        await _submit(stand.stack.api, slow.url, count)
        for replica in replicas:  # at the same time, or the first has a start
            replica.start(wait=False)
        for replica in replicas:
            await asyncio.to_thread(replica.wait_ready)
        used, began = cpu_seconds(stand.pids()), time.monotonic()
        await until(lambda: len(slow.came) >= count and not slow.waiting, 60 + 20 * count * seconds / MANY)
        after, ended = cpu_seconds(stand.pids()), time.monotonic()
        await asyncio.sleep(seconds)  # whatever is repeated comes now
    cores = sum(after[one.name] - used[one.name] for one in replicas) / (ended - began)
    took = max(slow.came) - min(slow.came) + seconds
    return Run(len(slow.came), slow.most, took, cores, stand.complaints())


async def _submit(api: str, target: str, count: int) -> None:
    async with Client(api) as client:
        for first in range(0, count, BATCH_JOBS):
            one = job(target, target, callbackUrl=None)
            body = json.dumps({"jobs": [one] * min(BATCH_JOBS, count - first)}).encode()
            status, answer = await client.post(f"{API_PATH}/batch", body)
            if status != 207 or answer.count(b'"status":202') != min(BATCH_JOBS, count - first):
                raise DevstackError(f"a batch was answered {status}")


def measure() -> dict[str, Any]:
    title(f"Slow targets: {MANY} calls of {MANY_SECONDS:g} s at once, and two executors beside one")
    jobs = MANY * MANY_TURNS
    many = run(1, MANY, MANY_SECONDS, jobs)
    one, two = (run(count, FEW, FEW_SECONDS, FEW_JOBS) for count in (1, 2))
    rows: list[tuple[str, Run]] = [("one, many at once", many), (f"one, {FEW} at once", one), ("two", two)]
    table(
        ["executors", "calls", "most at once", "seconds", "calls/s", "cores"],
        [[name, r.calls, r.most_at_once, r.seconds, r.calls / r.seconds, r.cores] for name, r in rows],
    )
    times = one.seconds / two.seconds
    say(f"  {many.cores:.2f} cores, goal {GOAL_CORES:g}; two are {times:.2f} times as fast, goal {GOAL_TIMES}")
    problems = [f"{name}: {text[:300]}" for name, r in rows for text in r.complaints[:1]]
    for (name, r), count in zip(rows, (jobs, FEW_JOBS, FEW_JOBS), strict=True):
        if r.calls != count:
            problems.append(f"{name}: {r.calls} calls for {count} jobs")
    return {"runs": {name: r._asdict() for name, r in rows}, "times": round(times, 2), "problems": problems}
