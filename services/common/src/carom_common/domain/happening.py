"""State changes of jobs as they are told: what happened, where in the stream it stands, and in which order."""

import re
from typing import NamedTuple, Self

from carom_common.contracts.job import FINAL_STATUSES

CALLBACK_OUTCOMES = frozenset({"callback.delivered", "callback.failed"})
EVENTS = (
    "queued",
    "scheduled",
    "in_progress",
    "waiting",
    "held",
    "completed",
    "failed",
    "cancelled",
    "expired",
    "callback.waiting",
    "callback.delivered",
    "callback.failed",
)
"""Everything that can happen to a job."""
REMEMBERED = 10_000
_LARGEST = 2**64 - 1
_FOREVER = 2**31
_POSITION = re.compile(r"([0-9]{1,20})-([0-9]{1,20})", re.ASCII)


class Position(NamedTuple):
    """A place in a stream: the id of the entry there, which grows from entry to entry."""

    ms: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `1526919030474-55`; raises ValueError with what is wrong."""
        found = _POSITION.fullmatch(text)
        if found is None or max(map(int, found.groups())) > _LARGEST:
            raise ValueError("must be the id of an event, e.g. 1526919030474-0")
        return cls(int(found[1]), int(found[2]))

    @property
    def next(self) -> "Position":
        return Position(self.ms, self.number + 1) if self.number < _LARGEST else Position(self.ms + 1, 0)

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


START = Position(0, 0)


class Happening(NamedTuple):
    """One entry of a stream. `attempt` counts as in adapters/store/events.py; `at` is Unix milliseconds."""

    position: Position
    job_id: str
    what: str
    generation: int
    attempt: int
    at: int


class Span(NamedTuple):
    """What a stream keeps. `first` is None where it is empty; `cut`: entries before the first are gone."""

    first: Position | None
    last: Position
    cut: bool

    def has_all_after(self, position: Position) -> bool:
        """Whether nothing that followed `position` can be missing."""
        if position == START:
            return not self.cut
        return self.first is not None and self.first <= position <= self.last


class Order:
    """Leaves out a `queued` or `scheduled` that is told twice, or late.

    An executor may begin a job before intake has written that it is queued: each tells it then, and intake's may come
    when the job has gone on. Remembers the last ten thousand jobs.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[tuple[int, int], Happening]] = {}

    def accepts(self, happening: Happening) -> bool:
        what = happening.what
        if what.startswith("callback."):
            return True
        stage = (happening.generation, _stage(what, happening.attempt))
        reached, queued = self._jobs.pop(happening.job_id, ((0, 0), happening))
        accepted = True
        if what in ("queued", "scheduled"):
            again = queued is not happening and queued[1:] == happening[1:]
            accepted = stage >= reached and not again
            queued = happening if accepted else queued
        self._jobs[happening.job_id] = (max(reached, stage), queued)
        if len(self._jobs) > REMEMBERED:
            del self._jobs[next(iter(self._jobs))]
        return accepted


def _stage(what: str, attempt: int) -> int:
    """How far a job has come within its generation: it grows with every attempt that begins, and that ends."""
    if what in FINAL_STATUSES:
        return _FOREVER
    return 2 * attempt - 1 if what == "in_progress" else 2 * attempt
