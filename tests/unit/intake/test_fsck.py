"""What a check makes of records and dead letters, and what it says of it all."""

import json
from typing import Any

import pytest

from carom_common.adapters.store.index import proper
from carom_common.contracts.job import Job
from carom_common.contracts.message import Attempt, CallbackMessage, ExecuteMessage
from carom_common.domain.clock import rfc3339
from carom_intake.domain.fsck import letter_of_callback, letter_of_job, suspect
from carom_intake.domain.owing import callback_message, execute_message
from carom_intake.fsck.report import FAILED, FOUND, OK, Report

BEFORE = 1_000_000
JOB = Job(target_url="https://a.example/", callback_url="https://b.example/")


def state(**fields: Any) -> dict[str, str]:
    return {
        name: str(value)
        for name, value in {
            "status": "queued", "generation": 1, "attempt": 0, "created": 1000, "updated": 1000, "eta": 0, **fields,
        }.items()
    }  # fmt: skip


def final(**fields: Any) -> dict[str, str]:
    return state(**{"status": "completed", "attempt": 1, "completed": 2000, "callback": "pending", **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"status": "scheduled", "eta": BEFORE - 1},
        {"status": "waiting", "attempt": 1, "eta": BEFORE - 1},
        {"status": "in_progress", "owner": "x", "lease": BEFORE - 1},
        {"status": "in_progress", "owner": "x", "lease": 0},
        {"expires": 1},
    ],
)
def test_what_is_due_and_unleased_is_asked_about(fields: dict[str, Any]) -> None:
    found = suspect(state(**fields), BEFORE)
    assert found is not None
    assert (found.step, found.held) == ("execute", False)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "scheduled", "eta": BEFORE},
        {"status": "waiting", "eta": BEFORE + 1},
        {"status": "in_progress", "lease": BEFORE + 1},
        {"updated": BEFORE},
        {"owed": "execute 12"},
        {"stale_until": BEFORE * 2, "shown_until": BEFORE},
        {"status": "completed", "callback": "delivered", "completed": 5},
        {"status": "failed", "callback": "none", "completed": 5},
        {"status": "cancelled", "callback": "pending", "completed": 5, "owed": "callback 12"},
    ],
)
def test_what_is_later_leased_owed_or_over_is_not(fields: dict[str, Any]) -> None:
    assert suspect(state(**fields), BEFORE) is None
    assert suspect({}, BEFORE) is None


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, True),
        ({"callback_attempt": 2, "callback_eta": BEFORE - 1}, True),
        ({"callback_eta": BEFORE}, False),
        ({"callback_owner": "x", "callback_lease": BEFORE + 9}, False),
        ({"completed": BEFORE}, False),
        ({"callback": "failed"}, False),
        ({"callback": "delivered"}, False),
    ],
)
def test_callbacks_that_are_due(fields: dict[str, Any], asked: bool) -> None:
    found = suspect(final(**fields), BEFORE)
    assert (found is not None) is asked
    assert found is None or found.step == "callback"


def test_what_is_held_is_told_apart() -> None:
    for held in (state(wait_reason="paused", holds=2), final(callback_holds=1)):
        found = suspect(held, BEFORE)
        assert found is not None
        assert found.held


@pytest.mark.parametrize(
    ("before", "then"),
    [
        (state(), {"claims": 1}),
        (state(), {"wait_reason": "paused", "holds": 1}),
        (state(wait_reason="paused", holds=1), {"holds": 2}),
        (state(), {"generation": 2}),
        (state(status="waiting", attempt=1), {"status": "queued"}),
        (state(status="in_progress", lease=5, owner="a"), {"owner": "b"}),
        (final(), {"callback_claims": 1}),
        (final(callback_holds=3), {"callback_holds": 4}),
        (final(callback_attempt=1), {"callback_attempt": 2}),
        (final(), {"callback_generation": 2}),
    ],
)
def test_whatever_happens_to_a_step_changes_its_mark(before: dict[str, str], then: dict[str, Any]) -> None:
    after = before | {name: str(value) for name, value in then.items()}
    assert suspect(before, BEFORE) == suspect(dict(before), BEFORE)
    assert suspect(before, BEFORE) != suspect(after, BEFORE)


def test_a_step_is_published_again_as_it_was() -> None:
    """The same generation, attempt and time, so that the fences know its copies."""
    job = b'{"targetUrl":"https://a.example/","callbackUrl":"https://b.example/"}'
    entry = b'{"attempt":1,"statusCode":503,"success":false,"timestamp":"2026-01-01T00:00:00.000Z"}'
    waiting = state(status="waiting", attempt=1, eta=77, generation=3, base=1, expires=99)
    execute = execute_message("j", waiting, job, [entry], "")
    assert (execute.generation, execute.attempt, execute.eta) == (3, 2, 77)
    assert (execute.base, execute.expires, len(execute.attempts)) == (1, 99, 1)
    ended = final(status="failed", callback_generation=2, callback_attempt=4, callback_eta=88, generation=3)
    callback = callback_message("j", ended, job, [entry], "")
    assert (callback.generation, callback.callback_generation, callback.callback_attempt) == (3, 2, 5)
    assert (callback.eta, callback.status, callback.completed_at) == (88, "failed", 2000)


def test_a_dead_letter_says_all_that_its_record_needs() -> None:
    last = Attempt(2, 503, False, rfc3339(5000), error="the target answered 503", reason="http-5xx", duration_ms=40)
    message = ExecuteMessage(1, "default", "j", JOB, 1000, attempt=2, attempts=(last,))
    letter = letter_of_job(message)
    assert (letter.status, letter.completed, letter.reason, letter.dead) == ("failed", 5040, "http-5xx", True)
    assert (letter.error, letter.callback) == ("the target answered 503", "none")

    callback = CallbackMessage(
        1, "default", "j", JOB, 1000, "completed", 6000, callback_generation=2, callback_attempt=8
    )
    letter = letter_of_callback(callback, "the receiver answered 500 (8 attempts)")
    assert (letter.status, letter.completed, letter.dead, letter.callback) == ("completed", 6000, False, "failed")
    assert letter[-3:] == (2, 8, "the receiver answered 500 (8 attempts)")


def test_where_a_record_must_be_listed() -> None:
    assert proper(state()) == ("all", "open")
    assert proper(final()) == ("all",)
    dead = final(status="failed", reason="http-5xx", dead=1, callback="failed", callback_dead=1)
    assert proper(dead) == ("all", "status:failed", "reason:http-5xx", "dead:execute", "dead:callback")


def test_exit_codes() -> None:
    report = Report(repair=True)
    assert report.exit_code == OK
    report.leave_out("3 jobs", "everything is paused", expected=True)
    assert report.exit_code == OK
    report.add("job-without-message", "a", repaired=True)
    assert report.exit_code == OK
    report.leave_out("3 jobs", "nobody consumes")
    assert report.exit_code == FAILED
    report.add("job-without-message", "b", repaired=False, why="sealed")
    assert report.exit_code == FOUND


def test_the_report_for_people_and_for_programs() -> None:
    report = Report(repair=False, records=7, suspects=2)
    for number in range(30):
        report.add("callback-not-published", f"job-{number}", repaired=False)
    report.leave_out("2 jobs", "nobody consumes carom.execute.low")
    text = report.text()
    assert "30  callbacks that are due" in text
    assert "job-19  " in text
    assert "job-20" not in text
    assert "not judged: 2 jobs: nobody consumes carom.execute.low" in text
    assert "--repair" in text
    document = json.loads(report.json())
    assert document["counts"]["callback-not-published"] == {"found": 30, "repaired": 0}
    assert document["notJudged"][0]["what"] == "2 jobs"
    assert len(document["examples"]) == 30
    assert "\n" not in report.json()
