"""What a job may become: bookkeeping of what was asked and answered, which `judging.py` compares with what was seen.

A target answers by the number of the attempt, so a generation that nobody disturbs has one possible ending. What
depends on a race (an expiry, an act on a job that runs) is a set of endings, narrowed by what the API answered.
"""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FINAL = ("completed", "failed", "cancelled", "expired")
SUPERSEDED = "superseded"
"""A generation that had no outcome: it waited, and was told to run now."""


class Report(NamedTuple):
    """How a job calls back. `answers` of the receiver by arrival, the last repeats; `retries` None: as configured."""

    name: str
    events: tuple[str, ...] = FINAL
    answers: str = "200"
    retries: int | None = None
    plain: bool = False
    """With `callbackUrl`, the short form."""


REPORTS = {
    report.name: report
    for report in (
        Report("nowhere", ()),
        Report("plain", plain=True),
        Report("flaky", answers="500:50,200", plain=True),
        Report("dying", answers="500,500,200", retries=0),
        Report("successes", ("completed",)),
        Report("all", (*FINAL, "attempt")),
    )
}


@dataclass(frozen=True)
class Spec:
    """What is submitted; times in milliseconds."""

    answers: tuple[int, ...] = (200,)
    """Of the target by attempt; the last repeats."""
    takes: int = 10
    max_retries: int = 1
    retry_delay: int = 100
    delay: int = 0
    ttl: int | None = None
    priority: str = "normal"
    team: str = "red"
    report: Report = REPORTS["plain"]

    def answer(self, attempt: int) -> int:
        return self.answers[min(attempt, len(self.answers)) - 1]

    @property
    def plan(self) -> str:
        """As the witness reads it."""
        return ",".join(f"{status}:{self.takes}" for status in self.answers)


class Ending(NamedTuple):
    """An outcome; `attempts` of all generations, `dead`: its retries are spent."""

    status: str
    attempts: int
    dead: bool = False


def natural_ending(spec: Spec, base: int, start: int) -> Ending:
    """How a generation ends by itself that begins after `start` attempts and counts its retries from `base`."""
    for attempt in itertools.count(start + 1):
        status = spec.answer(attempt)
        if 200 <= status < 300:
            return Ending("completed", attempt)
        if status < 500:
            return Ending("failed", attempt)
        if attempt - base > spec.max_retries:
            return Ending("failed", attempt, True)
    raise AssertionError("never")


@dataclass
class Generation:
    """One run of a job: `base` and `start` as in `natural_ending`. `expires`: its time to live is running."""

    number: int
    base: int
    start: int
    expires: bool
    hurried: bool = False
    """It was told to run now while it waited, so nobody knows how long it takes."""
    cancelled_at: float | None = None
    never_begun: bool = False
    """It was cancelled so long before its time that nothing can have begun."""
    closed: frozenset[Ending] | None = None
    delivered: bool = False
    """Its callback was seen as delivered."""
    callback_redrives: int = 0
    ended: Ending | None = None
    """How it was seen to have ended: this stays so. Without `dead`."""
    due: dict[int, float] = field(default_factory=dict)
    """When an attempt was said to come, by the clock that the witness uses."""

    def endings(self, spec: Spec) -> frozenset[Ending]:
        if self.closed is not None:
            return self.closed
        natural = natural_ending(spec, self.base, self.start)
        if not self.expires or spec.ttl is None:
            return frozenset({natural})
        expired = frozenset(Ending("expired", n) for n in range(self.start, natural.attempts + 1))
        calls = natural.attempts - self.start
        shortest = spec.delay + calls * spec.takes + (calls - 1) * spec.retry_delay
        surely = shortest > spec.ttl and not self.hurried and self.number == 1
        return expired if surely else expired | {natural}


@dataclass
class JobModel:
    """A job that was answered with 202, and the acts on it that were answered."""

    ref: str
    spec: Spec
    job_id: str
    generations: list[Generation] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.generations:
            self.generations.append(Generation(1, 0, 0, self.spec.ttl is not None))

    @property
    def last(self) -> Generation:
        return self.generations[-1]

    def seen(self, document: Mapping[str, Any], wait: float | None = None) -> None:
        """A record that was read; `wait` is the time until its next attempt, if it has one. Some of it stays true."""
        if document["generation"] != self.last.number:  # the act that made it so is about to be told
            return
        said = Ending(document["status"], document["attempts"])
        assert self.last.ended in (None, said), f"{self.job_id} had ended as {self.last.ended}: {document}"
        if said.status in FINAL:
            self.last.ended = said
        if document["callback"]["status"] == "delivered":
            self.last.delivered = True
        assert not self.last.delivered or document["callback"]["status"] == "delivered", f"{self.job_id}: {document}"
        if wait is not None:
            self.last.due[said.attempts + 1] = time.monotonic() + wait

    def cancelled(self, document: Mapping[str, Any], at: float, *, never_begun: bool = False) -> None:
        """It was cancelled with so many attempts made; `at` is when that was known."""
        assert document["generation"] == self.last.number, f"{self.job_id} is of another generation: {document}"
        assert self.last.start <= document["attempts"] <= natural_ending(self.spec, self.last.base, self.last.start)[1]
        self.last.closed = frozenset({Ending("cancelled", document["attempts"])})
        self.last.cancelled_at, self.last.never_begun = at, never_begun

    def runs_again(self, before: Mapping[str, Any], after: Mapping[str, Any], start: int | None) -> None:
        """It runs in a new generation: records `before` and `after` the act, `start` as answered, if it was."""
        last = self.last
        assert after["generation"] == last.number + 1, f"{self.job_id} skipped a generation: {after}"
        base = after["earlierAttempts"]
        if start is None:
            start = base if base != last.base else before["attempts"]
        possible = last.endings(self.spec)
        if before["status"] in FINAL:
            ended = frozenset(e for e in possible if (e.status, e.attempts) == (before["status"], before["attempts"]))
            assert ended, f"{self.job_id} cannot have ended as {before['status']} after {before['attempts']} attempts"
            assert (base, start) == (before["attempts"], before["attempts"]), f"{self.job_id} lost attempts: {after}"
        elif base != last.base:  # it ended between the look and the act
            ended = frozenset(e for e in possible if e.attempts == start and e.status != "completed")
            assert ended, f"{self.job_id} cannot have ended after {start} attempts"
        else:
            ended = frozenset(e for e in possible if e.status == "expired" and e.attempts == start == base)
            ended |= {Ending(SUPERSEDED, start)}
        final = all(e.status != SUPERSEDED for e in ended)
        last.closed = ended
        expires = last.expires and not final and after["expiresAt"] is not None
        self.generations.append(Generation(last.number + 1, base, start, expires, hurried=not final))

    def callback_redriven(self) -> None:
        self.last.callback_redrives += 1
