"""Whether what a job costs grows: with the number that are queued, of target hosts, and of jobs kept."""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import redis

from bench import lists
from bench.bursts import Contender, Way
from bench.client import Client
from bench.dead_hosts import everywhere, host
from bench.drain import STALL_SECONDS, drain
from bench.job import API_PATH, job
from bench.report import say, table, title
from bench.slow import OK
from bench.stand import COMPONENTS, Stand
from bench.usage import cpu_ms_each, cpu_seconds, sampled
from devstack.errors import DevstackError
from devstack.process import wait_until
from devstack.services import KINDS

BATCH_JOBS, CONNECTIONS = 1000, 4
GOAL_PERCENT, GOAL_MIB = 10, 150
QUEUED_TURNS, SKIPPED, MEASURED = 6, 200, 700
"""How often an executor is started beside a backlog, and of its jobs how many pass first and how many are measured."""
IDLE_SECONDS = 1.0
"""After so long without a callback none is under way."""
HOST_JOBS, HOST_WARM_UPS, HOST_TURNS = 10_000, 3, 3
"""Executors tell each other of 500 new hosts a second: more than one turn until all are known."""
KEPT_TURNS = 15
HOST_SECONDS = 300
REWRITE_SECONDS = 300
"""How long Redis may take to write its file anew after all was put in."""

Cost = Mapping[str, float]
MakeJob = Callable[[int], dict[str, Any]]


class _Answers(asyncio.Protocol):
    """A host that answers at once and keeps its connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST "):
            self._transport.write(OK)


def measure(most: int) -> dict[str, Any]:
    """Of 1,000, a tenth of `most` and `most` jobs queued; of one and 10,000 hosts; of none and `most` jobs kept."""
    title(f"Growth: up to {most:,} jobs queued or kept, {HOST_JOBS:,} hosts")
    queued, heaviest = _queued([1000, most // 10, most])
    hosts = asyncio.run(_hosts())
    kept = _kept(most)
    wrong: list[str] = []
    for what, costs in (("queued", queued), ("hosts", hosts), ("kept", kept)):
        first = sum(next(iter(costs.values())).values())
        rows = []
        for name, cost in costs.items():
            more = 100 * (sum(cost.values()) / first - 1)
            rows.append([name, *(f"{cost[part]:.2f}" for part in COMPONENTS), sum(cost.values()), f"{more:+.1f} %"])
            if more > GOAL_PERCENT:
                wrong.append(f"{what} {name}: {more:.1f} % dearer, {GOAL_PERCENT} are the goal")
        table([f"CPU-ms a job, {what}", *COMPONENTS, "stack", "more"], rows)
    say(f"  most memory with {most:,} queued, MiB: " + ", ".join(f"{n} {m:.0f}" for n, m in heaviest.items()))
    wrong += [f"{name} takes {heaviest[name]:.0f} MiB, {GOAL_MIB} are the goal"
              for name in KINDS if heaviest[name] >= GOAL_MIB]  # fmt: skip
    return {"queued": queued, "hosts": hosts, "kept": kept, "memory_mib": heaviest, "problems": wrong}


async def _fill(api: str, numbers: range, make: MakeJob) -> None:
    """Have all accepted, in batches."""
    starts = iter(range(numbers.start, numbers.stop, BATCH_JOBS))

    async def submit() -> None:
        async with Client(api) as client:
            for first in starts:
                jobs = [make(number) for number in range(first, min(first + BATCH_JOBS, numbers.stop))]
                status, body = await client.post(f"{API_PATH}/batch", json.dumps({"jobs": jobs}).encode())
                if status != 207 or any(entry["status"] != 202 for entry in json.loads(body)["jobs"]):
                    raise DevstackError(f"a batch was answered {status}: {body[:200]!r}")

    await asyncio.gather(*(submit() for _ in range(CONNECTIONS)))


def _cost_of(stand: Stand, begins: int, jobs: int) -> Cost:
    """Of so many callbacks, from when `begins` came."""

    def wait_for(count: int) -> int:
        if not wait_until(lambda: stand.receiver.count() >= count, STALL_SECONDS + jobs / 50, 0.01):
            raise DevstackError(f"{stand.receiver.count()} callbacks came, {count} were waited for")
        return stand.receiver.count()

    first = wait_for(begins)
    used = cpu_seconds(stand.pids())
    last = wait_for(begins + jobs)
    return cpu_ms_each(used, cpu_seconds(stand.pids()), last - first)


def _mean(costs: Sequence[Cost]) -> Cost:
    return {part: statistics.fmean(cost[part] for cost in costs) for part in COMPONENTS}


def _queued(depths: list[int]) -> tuple[dict[str, Cost], dict[str, float]]:
    """Executing and calling back beside so many jobs queued, and the most memory that each part had then."""
    costs: dict[str, Cost] = {}
    with Stand() as stand, sampled(stand.pids) as samples:
        accepted = 0

        def make(_: int) -> dict[str, Any]:
            return job(stand.target.url, stand.receiver.url)

        _stop_executor(stand)
        for depth in depths:
            started, turns = time.monotonic(), []
            for _ in range(QUEUED_TURNS):
                left = accepted - stand.receiver.count()
                asyncio.run(_fill(stand.stack.api, range(left, depth), make))
                accepted += max(0, depth - left)
                _await_rewrite(stand)
                begins = stand.receiver.count() + SKIPPED
                stand.stack.executor.start()
                turns.append(_cost_of(stand, begins, MEASURED))
                _stop_executor(stand)
            costs[f"{depth:,}"] = _mean(turns)
            say(f"  {depth:,} queued: {time.monotonic() - started:.0f} s")
    return costs, {name: max(sample.mib.get(name, 0.0) for sample in samples) for name in COMPONENTS}


def _stop_executor(stand: Stand) -> None:
    if stand.stack.executor.terminate():
        raise DevstackError("the executor did not stop cleanly")
    # What was executed is called back, and does not count for what comes next.
    count = -1
    while count != (count := stand.receiver.count()):
        time.sleep(IDLE_SECONDS)


def _await_rewrite(stand: Stand) -> None:
    """Until Redis does not write its file anew: a child of its does, at the cost of a core."""
    with redis.Redis.from_url(stand.redis.url) as store:

        def idle() -> bool:
            found = store.info("persistence")
            return not found["aof_rewrite_in_progress"] and not found["aof_rewrite_scheduled"]

        if not wait_until(idle, REWRITE_SECONDS, 0.5):
            raise DevstackError("Redis writes its file anew for minutes")


async def _hosts() -> dict[str, Cost]:
    """As many jobs for one host as for hosts of their own, in turns, from the first until all are called back."""
    costs: dict[str, list[Cost]] = {"1": [], f"{HOST_JOBS:,}": []}
    async with everywhere(_Answers) as port:
        with Stand() as stand:

            def make_for(hosts: int) -> MakeJob:
                return lambda number: job(f"http://{host(number % hosts)}:{port}", stand.receiver.url)

            for turn in range(HOST_WARM_UPS + HOST_TURNS):
                for name in costs:
                    make = make_for(int(name.replace(",", "")))
                    begins, used = stand.receiver.count(), cpu_seconds(stand.pids())
                    await _fill(stand.stack.api, range(HOST_JOBS), make)
                    drained = await asyncio.to_thread(drain, stand.receiver, begins, HOST_JOBS, HOST_SECONDS)
                    cost = cpu_ms_each(used, cpu_seconds(stand.pids()), drained.called_back)
                    if drained.called_back < HOST_JOBS:
                        raise DevstackError(f"of {HOST_JOBS} jobs for {name} hosts {drained.called_back} were done")
                    if turn >= HOST_WARM_UPS:
                        costs[name].append(cost)
    return {name: _mean(turns) for name, turns in costs.items()}


def _kept(count: int) -> dict[str, Cost]:
    """Bursts of jobs with nothing kept but theirs, and with very many kept, in turns."""
    with ExitStack() as until:
        contenders = {name: Contender(name, lambda _: Way({}), until) for name in ("0", f"{count:,}")}
        empty, full = contenders.values()
        lists.fill(full.stand.redis.url, count)
        _await_rewrite(full.stand)
        order = [empty, full]
        for _ in range(KEPT_TURNS):
            for contender in order:
                contender.burst()
            order.reverse()
        if wrong := empty.problems() + full.problems():
            raise DevstackError("; ".join(wrong))
        return {name: _mean(contender.bursts) for name, contender in contenders.items()}
