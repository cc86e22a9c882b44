"""What a job costs one way or another: a stack for each, all up at once, and bursts of jobs to each in turns.

A machine whose speed drifts does so over seconds to minutes; what is compared here lies a second or two apart. Whole
runs one after the other, as this was measured before, differed by a third among themselves.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench.bursts import BURST_JOBS, Contender, Way
from bench.report import say, table, title
from bench.stand import COMPONENTS

BURSTS_A_ROUND = 10

Ways = Mapping[str, Callable[[Path], Way]]
"""By name; the first is what the others are compared with. Each is given a directory for its files."""


class More(NamedTuple):
    """How much more than the first way, percent, and the standard error of that."""

    percent: float
    error: float


def compare(what: str, ways: Ways, rounds: int, judged: str, goal_percent: float) -> dict[str, Any]:
    """CPU-ms a job each way, and how much more than the first way each costs; `judged` has the goal."""
    turns = rounds * BURSTS_A_ROUND
    title(f"{what}: {turns} bursts of {BURST_JOBS} jobs each way, in turns")
    with ExitStack() as until:
        contenders = {name: Contender(name, made, until) for name, made in ways.items()}
        order = list(contenders.values())
        for _ in range(turns):
            for contender in order:
                contender.burst()
            order.reverse()
        wrong = [problem for contender in contenders.values() for problem in contender.problems()]
    means = {name: contender.means() for name, contender in contenders.items()}
    stacks = {name: [burst["stack"] for burst in contender.bursts] for name, contender in contenders.items()}
    first = next(iter(stacks.values()))
    more = {name: more_than(first, bursts) for name, bursts in stacks.items()}
    told = {name: f"{found.percent:+.1f} ± {found.error:.1f} %" for name, found in more.items()}
    table(
        ["CPU, ms a job", *COMPONENTS, "stack", "more"],
        [[name, *parts.values(), told[name]] for name, parts in means.items()],
    )
    met = more[judged].percent <= goal_percent
    say(f"  {judged}: {'within' if met else 'over'} the goal of {goal_percent:g} %")
    return {
        "cpu_ms_per_job": means,
        "bursts": {name: [round(cost, 3) for cost in bursts] for name, bursts in stacks.items()},
        "percent_more": {name: found._asdict() for name, found in more.items()},
        "problems": wrong,
    }


def more_than(first: Sequence[float], other: Sequence[float]) -> More:
    """From the bursts of both, in order: the ratio of the means, and its error from how the bursts of a turn differ."""
    base = statistics.fmean(first)
    differences = [there - here for here, there in zip(first, other, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return More(round(100 * statistics.fmean(differences) / base, 1), round(100 * error / base, 1))
