"""The model by itself: what it expects, and that it sees what is wrong."""

import time
from dataclasses import replace
from typing import Any

import pytest
from tests.properties.judging import Evidence, Pause, dead_kinds, judge
from tests.properties.model import REPORTS, Ending, JobModel, Spec, natural_ending
from tests.support.witness import Call, Callback

ID = "j"


def record(status: str, attempts: str = "", callback: str = "delivered", **more: Any) -> dict[str, Any]:
    """A record; `attempts` as "503 503 | 200", generations apart."""
    log, base, generations = list[dict[str, Any]](), 0, attempts.split("|")
    for number, part in enumerate(generations, 1):
        base = len(log)
        for code in part.split():
            log.append({"attempt": len(log) + 1, "generation": number, "statusCode": int(code)})
    return {
        "status": status,
        "attempts": len(log),
        "earlierAttempts": base,
        "generation": len(generations),
        "attemptsLog": log,
        "callback": {"status": callback},
        "expiresAt": None,
    } | more


def called(*attempts: int, at: float = 0.0) -> list[Call]:
    return [Call(attempt, at, 0) for attempt in attempts]


def back(generation: int, status: str, attempts: int, answered: int = 200) -> Callback:
    return Callback(f"{ID}_{generation}_{status}", 0.0, answered, status, attempts, attempts)


@pytest.mark.parametrize(
    ("spec", "base", "start", "ending"),
    [
        (Spec((200,)), 0, 0, Ending("completed", 1)),
        (Spec((503, 200)), 0, 0, Ending("completed", 2)),
        (Spec((503,), max_retries=2), 0, 0, Ending("failed", 3, True)),
        (Spec((404, 200)), 0, 0, Ending("failed", 1)),
        (Spec((404, 200)), 1, 1, Ending("completed", 2)),
        (Spec((503, 503, 503, 200)), 2, 2, Ending("completed", 4)),
        (Spec((503,), max_retries=1), 2, 2, Ending("failed", 4, True)),
        (Spec((503,), max_retries=1), 0, 1, Ending("failed", 2, True)),
    ],
)
def test_how_a_generation_ends(spec: Spec, base: int, start: int, ending: Ending) -> None:
    assert natural_ending(spec, base, start) == ending


def test_a_job_that_cannot_be_done_in_time_expires() -> None:
    job = JobModel("r", Spec((503,), max_retries=1, retry_delay=3000, ttl=700), ID)
    assert {ending.status for ending in job.last.endings(job.spec)} == {"expired"}
    job = JobModel("r", Spec((200,), ttl=700), ID)
    assert job.last.endings(job.spec) == {Ending("completed", 1), Ending("expired", 0), Ending("expired", 1)}


DEAD = Spec((503, 503, 200), max_retries=1)


def redriven() -> JobModel:
    job = JobModel("r", DEAD, ID)
    job.runs_again(record("failed", "503 503"), record("completed", "503 503 | 200"), 2)
    return job


KEPT = Evidence(record("completed", "503 503 | 200"), called(1, 2, 3), [back(1, "failed", 2), back(2, "completed", 3)])


def test_what_is_right_passes() -> None:
    assert judge(redriven(), KEPT) == []
    assert dead_kinds(redriven(), KEPT.document) == set()


REDRIVEN_AND_WRONG = {
    "another outcome": replace(KEPT, document=record("failed", "503 503 | 200")),
    "another generation": replace(KEPT, document=record("completed", "503 503 200")),
    "lost attempts": replace(KEPT, document={**KEPT.document, "attemptsLog": KEPT.document["attemptsLog"][2:]}),
    "an attempt never made": replace(KEPT, calls=called(1, 3)),
    "an attempt too many": replace(KEPT, calls=called(1, 2, 3, 4), killed={"executor"}),
    "an attempt made twice": replace(KEPT, calls=called(1, 2, 2, 3), killed={"callback"}),
    "never called back": replace(KEPT, callbacks=KEPT.callbacks[:1]),
    "called back twice": replace(KEPT, callbacks=[*KEPT.callbacks, KEPT.callbacks[1]], killed={"executor"}),
    "called back with another id": replace(KEPT, callbacks=[*KEPT.callbacks, back(3, "completed", 3)]),
    "called back with another number": replace(KEPT, callbacks=[*KEPT.callbacks[:1], back(2, "completed", 1)]),
    "never taken": replace(KEPT, callbacks=[KEPT.callbacks[0], back(2, "completed", 3, 500)]),
    "called while it was paused": replace(KEPT, pauses=[Pause("red", -10, 10)]),
    "pending for ever": replace(KEPT, document=record("completed", "503 503 | 200", "pending")),
}


@pytest.mark.parametrize("seen", REDRIVEN_AND_WRONG.values(), ids=REDRIVEN_AND_WRONG.keys())
def test_what_is_wrong_is_told(seen: Evidence) -> None:
    assert judge(redriven(), seen)


def test_killed_processes_explain_repeats() -> None:
    twice = replace(KEPT, calls=called(1, 2, 2, 3), callbacks=[*KEPT.callbacks, KEPT.callbacks[1]])
    assert judge(redriven(), replace(twice, killed={"executor", "callback"})) == []


def cancelled(*, never_begun: bool) -> JobModel:
    job = JobModel("r", Spec((200,), delay=5000), ID)
    job.cancelled(record("cancelled"), 10.0, never_begun=never_begun)
    return job


def test_cancelled_before_it_began_is_never_called() -> None:
    kept = Evidence(record("cancelled"), [], [back(1, "cancelled", 0)])
    for never_begun in (True, False):
        assert judge(cancelled(never_begun=never_begun), kept) == []
    assert judge(cancelled(never_begun=False), replace(kept, calls=called(1, at=9.5))) == []
    assert judge(cancelled(never_begun=True), replace(kept, calls=called(1, at=9.5)))
    assert judge(cancelled(never_begun=False), replace(kept, calls=called(1, at=15.0)))


def test_run_now_has_no_outcome_of_its_own() -> None:
    job = JobModel("r", Spec((503, 200), retry_delay=8000), ID)
    job.runs_again(record("waiting", "503"), record("completed", "503 | 200", earlierAttempts=0), 1)
    seen = Evidence(record("completed", "503 | 200"), called(1, 2), [back(2, "completed", 2)])
    assert judge(job, seen) == []
    assert judge(job, replace(seen, callbacks=[*seen.callbacks, back(1, "failed", 1)]))


def test_an_attempt_before_its_time_is_told() -> None:
    job = JobModel("r", Spec((503, 200)), ID)
    job.seen(record("waiting", "503", "pending"), 5.0)
    soon = time.monotonic() + 1
    seen = Evidence(record("completed", "503 200"), called(1, 2, at=soon), [back(1, "completed", 2)])
    assert judge(job, seen)
    assert judge(job, replace(seen, calls=called(1, 2, at=soon + 5))) == []


def test_an_ending_stays() -> None:
    job = JobModel("r", Spec((503, 200)), ID)
    job.seen(record("completed", "503 200"))
    with pytest.raises(AssertionError, match="had ended"):
        job.seen(record("waiting", "503"))


def test_every_attempt_is_news_where_that_is_wanted() -> None:
    job = JobModel("r", Spec((503, 200), report=REPORTS["all"]), ID)
    news = [Callback(f"{ID}_1_attempt_{n}", 0.0, 200, "waiting", n, n) for n in (1, 2)]
    seen = Evidence(record("completed", "503 200"), called(1, 2), [*news, back(1, "completed", 2)])
    assert judge(job, seen) == []
    assert judge(job, replace(seen, callbacks=seen.callbacks[1:]))


def test_dead_both_ways() -> None:
    job = JobModel("r", Spec((503,), report=REPORTS["dying"]), ID)
    seen = Evidence(record("failed", "503 503", "failed"), called(1, 2), [back(1, "failed", 2, 500)])
    assert judge(job, seen) == []
    assert dead_kinds(job, seen.document) == {"execute", "callback"}


def test_attempts_lost_in_a_redrive_are_told_at_once() -> None:
    job = JobModel("r", DEAD, ID)
    with pytest.raises(AssertionError, match="lost attempts"):
        job.runs_again(record("failed", "503 503"), record("queued", "| ") | {"generation": 2}, 0)
