"""What a job costs one way or another: the same jobs, each way on fresh servers, in turns."""

import statistics
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from bench.drain import drain, leftovers, problems
from bench.load import generate
from bench.report import say, table, title
from bench.stand import COMPONENTS, Stand
from bench.usage import cpu_seconds
from devstack.certificates import Authority

JOBS, WARM_UP_JOBS = 6000, 1500
"""The first jobs find cold connections and interpreters that have not seen their paths yet."""
DRAIN_SECONDS = 120


def alone(_: Stand) -> AbstractContextManager[None]:
    return nullcontext()


class Way(NamedTuple):
    """Settings of the stack, headers and fields of what is submitted to it, and whether the servers speak TLS.

    `beside` is what runs beside the stand.
    """

    env: Mapping[str, str]
    headers: Mapping[str, str] = {}
    fields: Mapping[str, Any] = {}
    tls: bool = False
    beside: Callable[[Stand], AbstractContextManager[None]] = alone


Ways = Mapping[str, Callable[[Path], Way]]
"""By name; the first is what the others are compared with. Each is given a directory for its files."""


def compare(what: str, ways: Ways, rounds: int, judged: str, goal_percent: float) -> dict[str, Any]:
    """The medians of the rounds, and how much more than the first way each costs; `judged` has the goal."""
    title(f"{what}: {JOBS} jobs each way, {rounds} rounds")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    wrong: list[str] = []
    for _ in range(rounds):
        for name, way in ways.items():
            run, amiss = _run(way)
            found[name].append(run)
            wrong += [f"{name}: {problem}" for problem in amiss]
    medians = {
        name: {part: round(statistics.median(run[part] for run in runs), 3) for part in runs[0]}
        for name, runs in found.items()
    }
    base = medians[next(iter(ways))]["stack"]
    percent = {name: round(100 * (parts["stack"] / base - 1), 1) for name, parts in medians.items()}
    table(
        ["CPU, ms a job", *COMPONENTS, "stack", "more"],
        [[name, *parts.values(), f"{percent[name]:+.1f} %"] for name, parts in medians.items()],
    )
    met = percent[judged] <= goal_percent
    say(f"  {judged}: {'within' if met else 'over'} the goal of {goal_percent:g} %")
    return {"cpu_ms_per_job": medians, "runs": found, "percent_more": percent, "problems": wrong}


def _run(made: Callable[[Path], Way]) -> tuple[dict[str, float], list[str]]:
    """CPU-ms a job by component and in all, and what went wrong."""
    directory = Path(tempfile.mkdtemp(prefix="carom-bench-"))
    way = made(directory)
    with Stand(directory, way.env, Authority(directory / "tls") if way.tls else None) as stand, way.beside(stand):
        warm = generate(stand, WARM_UP_JOBS, 60, headers=way.headers, fields=way.fields)
        before = drain(stand.receiver, 0, warm.accepted, 60).called_back
        used = cpu_seconds(stand.pids())
        submitted = generate(stand, JOBS, 120, headers=way.headers, fields=way.fields)
        drained = drain(stand.receiver, before, submitted.accepted, DRAIN_SECONDS)
        after = cpu_seconds(stand.pids())
        amiss = problems(leftovers(stand, submitted.accepted, drained))
    jobs = max(1, drained.called_back)
    cpu = {part: (after[part] - used[part]) * 1000 / jobs for part in COMPONENTS}
    return cpu | {"stack": sum(cpu.values())}, amiss
