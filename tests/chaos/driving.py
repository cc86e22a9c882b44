"""The load of a scenario: a mixture of jobs whose outcome is known, drawn from the seed."""

from collections.abc import Mapping
from random import Random

from tests.support.load import KINDS, Kind

RATE = 60.0
"""Jobs a second. With everything on two cores (servers, six services, load, targets and receivers) that is about half
of what they do for this mixture."""
ANSWER_SECONDS = 10.0
"""A request that is not answered within this time counts as refused, and as `TimeoutError`."""
DRAWN = 4096

SILENT = Kind("silent", "200:20", 3, "completed", 1, None)
SILENT_RETRIED = Kind("silent, retried", "503:20,200:20", 3, "completed", 2, None)
SILENT_EXHAUSTED = Kind("silent, exhausted", "503:20", 1, "failed", 2, None)

MIXTURE: Mapping[Kind, int] = dict(zip(KINDS, (4, 2, 2, 1, 1, 1, 1), strict=True)) | {
    SILENT: 2,
    SILENT_RETRIED: 1,
    SILENT_EXHAUSTED: 1,
}
"""Weights: mostly successes, some of everything, a quarter without a callback."""
NEVER_TAKEN = Kind("never taken", "200:20", 3, "completed", 1, "503:20", taken=False)
WITH_DEAD_CALLBACKS: Mapping[Kind, int] = {**MIXTURE, NEVER_TAKEN: 1}
"""They take five seconds until they are given up."""
BRIEF = {kind: weight for kind, weight in MIXTURE.items() if kind.name in ("succeeds", "silent")}
"""Jobs that are over at once."""


def drawn(rng: Random, kinds: Mapping[Kind, int]) -> list[Kind]:
    """What is submitted one after the other, before it begins anew."""
    return rng.choices(list(kinds), list(kinds.values()), k=DRAWN)
