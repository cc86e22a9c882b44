"""A scenario: what is broken, for how long, and what else must hold."""

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from tests.chaos.auditing import Audit
from tests.chaos.driving import MIXTURE, RATE
from tests.chaos.stage import Stage
from tests.support.load import Kind

Break = Callable[[Stage, Random, float], None]
"""Breaks things for about so many seconds, and returns when nothing is broken any more. An AssertionError fails it."""


def nothing_more(_stage: Stage, _audit: Audit) -> None:
    """The audit says all that is to be said."""


class Scenario(NamedTuple):
    """`<group>/<name>`, for `short` or `long` seconds of fault. Scenarios with the same `stage` run on one, in turn."""

    group: str
    name: str
    break_it: Break
    short: float = 6.0
    long: float = 60.0
    stage: type[Stage] = Stage
    rate: float = RATE
    kinds: Mapping[Kind, int] = MIXTURE
    records: bool = True
    """Whether records survive: False where the store loses what it has."""
    recovers: float = 30.0
    """Seconds after the fault within which jobs are normal again."""
    causes: frozenset[str] | None = None
    """What may repeat a call; None for whatever was done. Empty: nothing may."""
    check: Callable[[Stage, Audit], None] = nothing_more
    """More that must hold, of the whole; it fails with an AssertionError."""
    obstacle: str | None = None
    """Why it cannot be run on this machine."""

    @property
    def title(self) -> str:
        return f"{self.group}/{self.name}"
