"""Jobs that fail twice, a second apart, beside jobs that succeed at once: what they cost, and how late retries are."""

import asyncio
import itertools
import json
from typing import Any

from bench.client import Client
from bench.endpoint import endpoint, until
from bench.job import API_PATH, job, number_of
from bench.report import say, spread, table, title
from bench.retries import GOAL_P99_MS
from bench.stand import COMPONENTS, Stand
from bench.usage import cpu_ms_each, cpu_seconds

FAILURES, DELAY_MS = 2, 1000
GOAL_TIMES = 3.0
CONNECTIONS = 16
DONE_SECONDS = 120


class _Ends:
    """Target and receiver of so many jobs, which answers the first calls of each with 503."""

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self.came: dict[int, list[float]] = {}
        self.back: set[int] = set()

    def at_target(self, path: str, at: float) -> int:
        number = number_of(path)
        assert number is not None
        arrivals = self.came.setdefault(number, [])
        arrivals.append(at * 1000)
        return 503 if len(arrivals) <= self._failures else 200

    def at_receiver(self, path: str, _: float) -> int:
        if (number := number_of(path)) is not None:
            self.back.add(number)
        return 200

    def late_ms(self) -> list[float]:
        """From when a retry was due, the answer to the call before being taken for instantaneous."""
        gaps = [later - sooner for times in self.came.values() for sooner, later in itertools.pairwise(times)]
        return [gap - DELAY_MS for gap in gaps]


def measure(count: int, rate: float) -> dict[str, Any]:
    title(f"{count} jobs that fail {FAILURES} times, {DELAY_MS} ms apart, and {count} that do not; {rate:g} a second")
    ways = {"succeed at once": 0, f"fail {FAILURES} times": FAILURES}
    with Stand() as stand:
        asyncio.run(_work_off(stand, _Ends(0), 500, rate))
        found = {name: asyncio.run(_cost(stand, _Ends(failures), count, rate)) for name, failures in ways.items()}
        complaints = stand.complaints()
    good, bad = found.values()
    times = bad["cpu"]["stack"] / good["cpu"]["stack"]
    table(["CPU, ms a job", *COMPONENTS, "stack"], [[name, *each["cpu"].values()] for name, each in found.items()])
    late = bad["late"]
    table(["ms late", "p50", "p99", "max"], [["retries", *late.values()]])
    say(f"  {times:.2f} times the CPU, goal {GOAL_TIMES:g}; p99 {late['p99']} ms late, goal {GOAL_P99_MS}")
    problems = [f"{name}: {count - each['back']} callbacks did not come" for name, each in found.items()
                if each["back"] != count]  # fmt: skip
    problems += [f"{len(complaints)} errors logged, the first: {complaints[0][:300]}"] if complaints else []
    return {"ways": found, "times": round(times, 2), "problems": problems}


async def _cost(stand: Stand, ends: _Ends, count: int, rate: float) -> dict[str, Any]:
    used = cpu_seconds(stand.pids())
    await _work_off(stand, ends, count, rate)
    after = cpu_seconds(stand.pids())
    cpu = cpu_ms_each(used, after, count)
    return {"cpu": cpu | {"stack": sum(cpu.values())}, "late": spread(ends.late_ms()), "back": len(ends.back)}


async def _work_off(stand: Stand, ends: _Ends, count: int, rate: float) -> None:
    fixed = {"retryDelay": DELAY_MS, "retry": {"strategy": "fixed"}}
    loop = asyncio.get_running_loop()
    start, numbers = loop.time(), iter(range(count))
    async with (
        endpoint(ends.at_target) as target,
        endpoint(ends.at_receiver) as receiver,
        Client(stand.stack.api) as client,
    ):

        async def submit() -> None:
            for number in numbers:
                await asyncio.sleep(start + number / rate - loop.time())
                await client.post(API_PATH, json.dumps(job(target, receiver, number, **fixed)).encode())

        await asyncio.gather(*(submit() for _ in range(CONNECTIONS)))
        await until(lambda: len(ends.back) >= count, DONE_SECONDS)
