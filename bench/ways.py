"""What a job costs one way or another: a stack for each, all up at once, and bursts of jobs to each in turns.

A machine whose speed drifts does so over seconds to minutes; what is compared here lies a second or two apart. Whole
runs one after the other, as this was measured before, differed by a third among themselves.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from bench.drain import drain, leftovers, problems
from bench.load import generate
from bench.report import say, table, title
from bench.stand import COMPONENTS, Stand
from bench.usage import cpu_seconds
from devstack.certificates import Authority

BURST_JOBS, WARM_UP_JOBS = 1000, 2000
"""The first jobs find cold connections and interpreters that have not seen their paths yet."""
BURSTS_A_ROUND = 10
DRAIN_SECONDS = 60


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


class _Contender:
    """One way, up and warm, and what each burst to it cost."""

    def __init__(self, name: str, made: Callable[[Path], Way], until: ExitStack) -> None:
        directory = Path(tempfile.mkdtemp(prefix="carom-bench-"))
        self._way, self._name = made(directory), name
        authority = Authority(directory / "tls") if self._way.tls else None
        self._stand = until.enter_context(Stand(directory, self._way.env, authority))
        until.enter_context(self._way.beside(self._stand))
        self._accepted = self._called_back = 0
        self.bursts: list[dict[str, float]] = []
        """CPU-ms a job by component and, as `stack`, in all."""
        self._submit(WARM_UP_JOBS)

    def burst(self) -> None:
        used = cpu_seconds(self._stand.pids())
        jobs = self._submit(BURST_JOBS)
        after = cpu_seconds(self._stand.pids())
        cpu = {part: (after[part] - used[part]) * 1000 / max(1, jobs) for part in COMPONENTS}
        self.bursts.append(cpu | {"stack": sum(cpu.values())})

    def _submit(self, count: int) -> int:
        submitted = generate(self._stand, count, 120, headers=self._way.headers, fields=self._way.fields)
        drained = drain(self._stand.receiver, self._called_back, submitted.accepted, DRAIN_SECONDS)
        self._accepted += submitted.accepted
        self._called_back += drained.called_back
        return drained.called_back

    def means(self) -> dict[str, float]:
        return {part: round(statistics.fmean(burst[part] for burst in self.bursts), 3) for part in self.bursts[0]}

    def problems(self) -> list[str]:
        drained = drain(self._stand.receiver, 0, self._accepted, 1)
        return [f"{self._name}: {problem}" for problem in problems(leftovers(self._stand, self._accepted, drained))]


class More(NamedTuple):
    """How much more than the first way, percent, and the standard error of that."""

    percent: float
    error: float


def compare(what: str, ways: Ways, rounds: int, judged: str, goal_percent: float) -> dict[str, Any]:
    """CPU-ms a job each way, and how much more than the first way each costs; `judged` has the goal."""
    turns = rounds * BURSTS_A_ROUND
    title(f"{what}: {turns} bursts of {BURST_JOBS} jobs each way, in turns")
    with ExitStack() as until:
        contenders = {name: _Contender(name, made, until) for name, made in ways.items()}
        order = list(contenders.values())
        for _ in range(turns):
            for contender in order:
                contender.burst()
            order.reverse()
        wrong = [problem for contender in contenders.values() for problem in contender.problems()]
    means = {name: contender.means() for name, contender in contenders.items()}
    first = next(iter(contenders.values()))
    more = {name: _more(first, contender) for name, contender in contenders.items()}
    told = {name: f"{found.percent:+.1f} ± {found.error:.1f} %" for name, found in more.items()}
    table(
        ["CPU, ms a job", *COMPONENTS, "stack", "more"],
        [[name, *parts.values(), told[name]] for name, parts in means.items()],
    )
    met = more[judged].percent <= goal_percent
    say(f"  {judged}: {'within' if met else 'over'} the goal of {goal_percent:g} %")
    return {
        "cpu_ms_per_job": means,
        "bursts": {name: [round(burst["stack"], 3) for burst in c.bursts] for name, c in contenders.items()},
        "percent_more": {name: found._asdict() for name, found in more.items()},
        "problems": wrong,
    }


def _more(first: _Contender, other: _Contender) -> More:
    """From the ratio of the sums; the error from how the bursts of one turn differ."""
    base = statistics.fmean(burst["stack"] for burst in first.bursts)
    differences = [b["stack"] - a["stack"] for a, b in zip(first.bursts, other.bursts, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return More(round(100 * statistics.fmean(differences) / base, 1), round(100 * error / base, 1))
