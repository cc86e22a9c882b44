"""The audit of tests/chaos sees what it is there for."""

import pytest
from tests.chaos.auditing import duplicates, exceeded, lost
from tests.chaos.stage import Mark
from tests.support.load import KINDS, Kind, Load
from tests.support.witness import Call, Callback, LoopThread, Witness

JOB = "job"
SUCCEEDS, RETRIED = KINDS[0], KINDS[2]


def load_of(kind: Kind, *calls: Call) -> Load:
    """A load of one job that was accepted, and called so often."""
    thread = LoopThread()  # not started: nothing is submitted
    witness = Witness(thread)
    witness.calls[JOB].extend(calls)
    load = Load("", witness, thread)
    load.accepted[JOB] = (kind, 0.0)
    return load


def call(attempt: int, at: float) -> Call:
    return Call(attempt, at, 200)


def test_a_job_whose_last_attempt_was_not_made_is_lost() -> None:
    assert lost(load_of(SUCCEEDS)) == [JOB]
    assert lost(load_of(RETRIED, call(1, 1), call(2, 2))) == [JOB]
    assert lost(load_of(RETRIED, call(1, 1), call(2, 2), call(3, 3))) == []


def test_a_call_after_the_one_that_decided_is_wrong() -> None:
    assert exceeded(load_of(SUCCEEDS, call(1, 1))) == []
    assert exceeded(load_of(SUCCEEDS, call(1, 1), call(2, 2))) == [JOB]


@pytest.mark.parametrize(
    ("at", "until", "cause"),
    [(10.5, 10.5, "killed"), (9.0, 10.2, "killed"), (11.0, 20.0, "killed"), (12.5, 13.0, None), (1.0, 2.0, None)],
)
def test_a_repeated_call_has_a_cause_or_none(at: float, until: float, cause: str | None) -> None:
    """What was done before the first call, or after the second one, is no reason."""
    causes, unexplained = duplicates([load_of(SUCCEEDS, call(1, 10), call(1, 12))], [Mark("killed", "x", at, until)])
    assert dict(causes) == ({cause: 1} if cause else {})
    assert unexplained == ([] if cause else [JOB])


def test_different_attempts_are_no_repeats() -> None:
    assert duplicates([load_of(RETRIED, call(1, 1), call(2, 2))], []) == ({}, [])


def test_callbacks() -> None:
    """Another outcome than what happened, two ids, and one that nobody asked for are wrong; none at all is missing."""
    load = load_of(SUCCEEDS, call(1, 1))
    assert load.unfinished() == [JOB]
    good = Callback("id", 2, 200, "completed", 1, 1)
    for callbacks, wrong in (
        ([good], []),
        ([good, good], []),
        ([good._replace(status="failed")], [JOB]),
        ([good._replace(attempts=2)], [JOB]),
        ([good, good._replace(webhook_id="other")], [JOB]),
    ):
        load.witness.callbacks[JOB] = callbacks
        assert load.wrong() == wrong
        assert load.unfinished() == []
    load.accepted[JOB] = (SUCCEEDS._replace(receiver=None), 0.0)
    assert load.wrong() == [JOB]
