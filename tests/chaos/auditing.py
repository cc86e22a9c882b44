"""What became of every job that was answered with 202, as targets, receivers and records tell it."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tests.chaos.stage import Letters, Mark, Stage
from tests.support.load import Load
from tests.support.witness import Call

SETTLED_WITHIN = 20.0
"""Seconds after the last callback until every record tells it."""
REACH = 1.5
"""Seconds after a fault in which its effects may still begin: a redelivery on its way, a connection being made anew."""


class Audit(NamedTuple):
    """Jobs by what is wrong with them; calls that were made more than once by what caused that."""

    accepted: int
    answers: Counter[str]
    lost: list[str]
    """Never in a final state: the last attempt that was due was not made."""
    wrong: list[str]
    """Called back, recorded or dead-lettered as something else than what happened."""
    missing: list[str]
    """Without a callback that its receiver took, where it takes any."""
    duplicates: Counter[str]
    unexplained: list[str]
    """Jobs with a call that was made twice though nothing was done to anybody in between."""
    repeated_callbacks: int
    """Taken more than once, under the same webhook-id."""


def audit(stage: Stage, letters: Letters, *, records: bool = True) -> Audit:
    """Judge all loads of a scenario.

    `letters` are the dead letters that have come since it began; `records` is False where records may be lost:
    then those are looked at whose jobs were worked on afterwards.
    """
    loads = stage.loads
    gone = [job for load in loads for job in lost(load)]
    wrong = {job for load in loads for job in (*load.wrong(), *exceeded(load))}
    since = 0.0 if records else max(mark.until for mark in stage.marks)
    wrong |= {job for load in loads for job in _stale(load, since) if job not in gone}
    kinds = [kind for load in loads for kind, _ in load.accepted.values()]
    due = Letters(sum(is_dead_lettered(kind.name) for kind in kinds), sum(not kind.taken for kind in kinds))
    if letters.jobs < due.jobs - len(gone) or letters.callbacks < due.callbacks - len(gone):
        wrong.add(f"dead letters: {letters}, due: {due}")
    repeated, unexplained = duplicates(loads, stage.marks)
    return Audit(
        sum(len(load.accepted) for load in loads),
        sum((load.answers for load in loads), Counter()),
        gone,
        sorted(wrong),
        [
            job
            for load in loads
            for job, (kind, _) in load.accepted.items()
            if kind.receiver is not None and kind.taken and not load.witness.taken(job)
        ],
        repeated,
        unexplained,
        sum(load.repeated_callbacks() for load in loads),
    )


def _stale(load: Load, since: float) -> list[str]:
    """Jobs with a wrong record, of those that were accepted or called back since then."""
    stale = load.stale(load.settled_records(SETTLED_WITHIN if not since else 0))
    return [
        job
        for job in stale
        if load.accepted[job][1] >= since or any(callback.at >= since for callback in load.witness.taken(job))
    ]


def is_dead_lettered(kind: str) -> bool:
    return kind.endswith("exhausted")


def lost(load: Load) -> list[str]:
    return [
        job
        for job, (kind, _) in load.accepted.items()
        if not any(call.attempt >= kind.attempts for call in load.witness.called(job))
    ]


def exceeded(load: Load) -> list[str]:
    """Jobs that were called after the attempt that decided."""
    return [
        job
        for job, (kind, _) in load.accepted.items()
        if any(call.attempt > kind.attempts for call in load.witness.called(job))
    ]


def duplicates(loads: Sequence[Load], marks: Sequence[Mark]) -> tuple[Counter[str], list[str]]:
    causes: Counter[str] = Counter()
    unexplained = []
    for load in loads:
        for job in load.accepted:
            for first, again in _pairs(load.witness.called(job)):
                cause = _cause(first.at, again.at, marks)
                if cause is None:
                    unexplained.append(job)
                else:
                    causes[cause] += 1
    return causes, unexplained


def _pairs(calls: Iterable[Call]) -> list[tuple[Call, Call]]:
    """Each call of an attempt with the one that repeats it."""
    by_attempt: defaultdict[int, list[Call]] = defaultdict(list)
    for call in calls:
        by_attempt[call.attempt].append(call)
    return [pair for made in by_attempt.values() for pair in itertools.pairwise(made)]


def _cause(first: float, again: float, marks: Sequence[Mark]) -> str | None:
    """What happened between the two. What an intake meets is no reason: it calls nobody."""
    between = (mark for mark in marks if mark.at <= again and first <= mark.until + REACH)
    return next((mark.cause for mark in between if not mark.whom.startswith("intake")), None)


def named(jobs: Sequence[Any]) -> str:
    """A few of them, for a message."""
    return ", ".join(map(str, jobs[:3])) + (", ..." if len(jobs) > 3 else "")
