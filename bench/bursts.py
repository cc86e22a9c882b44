"""A stack that is up and warm, and what bursts of jobs cost it."""

import statistics
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from bench.drain import drain, leftovers, problems
from bench.load import generate
from bench.stand import Stand
from bench.usage import cpu_ms_each, cpu_seconds
from devstack.certificates import Authority

BURST_JOBS, WARM_UP_JOBS = 1000, 2000
"""The first jobs find cold connections and interpreters that have not seen their paths yet."""
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


class Contender:
    """One way, up and warm, and what each burst to it cost."""

    def __init__(self, name: str, made: Callable[[Path], Way], until: ExitStack) -> None:
        directory = Path(tempfile.mkdtemp(prefix="carom-bench-"))
        self._way, self._name = made(directory), name
        authority = Authority(directory / "tls") if self._way.tls else None
        self.stand = until.enter_context(Stand(directory, self._way.env, authority))
        until.enter_context(self._way.beside(self.stand))
        self._accepted = self._called_back = 0
        self.bursts: list[dict[str, float]] = []
        """CPU-ms a job by component and, as `stack`, in all."""
        self._submit(WARM_UP_JOBS)

    def burst(self, count: int = BURST_JOBS) -> None:
        used = cpu_seconds(self.stand.pids())
        jobs = self._submit(count)
        cpu = cpu_ms_each(used, cpu_seconds(self.stand.pids()), jobs)
        self.bursts.append(cpu | {"stack": sum(cpu.values())})

    def _submit(self, count: int) -> int:
        submitted = generate(self.stand, count, 120, headers=self._way.headers, fields=self._way.fields)
        drained = drain(self.stand.receiver, self._called_back, submitted.accepted, DRAIN_SECONDS)
        self._accepted += submitted.accepted
        self._called_back += drained.called_back
        return drained.called_back

    def means(self) -> dict[str, float]:
        return {part: round(statistics.fmean(burst[part] for burst in self.bursts), 3) for part in self.bursts[0]}

    def problems(self) -> list[str]:
        drained = drain(self.stand.receiver, 0, self._accepted, 1)
        return [f"{self._name}: {problem}" for problem in problems(leftovers(self.stand, self._accepted, drained))]
