"""What is said of a job, in every place where it can be."""

from typing import Any, get_args

import msgspec
import pytest

from carom_common.contracts.job import Job, encode_job
from carom_common.contracts.message import Attempt, encode_attempt
from carom_common.domain.clock import rfc3339
from carom_common.domain.filters import WAIT_REASONS
from carom_common.domain.pauses import LabelSelector, Pause, Selector
from carom_common.domain.rules import Limits
from carom_intake.domain.documents import Record
from carom_intake.domain.explaining import parts
from carom_intake.domain.explaining.calls import explain, process_of
from carom_intake.domain.explaining.ends import of_outlived, of_sealed
from carom_intake.domain.explaining.parts import Around, Code, Explanation, Now

JOB_ID = "7b0c2a52-5a3f-4a0e-9d5e-0f6b7f0e9c11"
NOW = 1_800_000_000_000
URL = "https://api.example/pay?token=hunter2"
IDLE = Now(Limits(50))
QUIET = Around(NOW, (), IDLE, IDLE, 0, 0)
ALL_PAUSED = Pause("acme", Selector(), NOW - 60_000)


def failed(number: int, status: int | None = 503, error: str | None = None, reason: str = "http-5xx") -> Attempt:
    return Attempt(number, status, False, rfc3339(NOW - 5000), error=error, reason=reason)


def record(status: str, attempts: Any = (), job: Any = None, **state: Any) -> Record:
    """`attempts` are entries of its log, `job` fields of it, and `state` what the store keeps beside."""
    fields = {
        "status": status,
        "generation": 1,
        "attempt": len(attempts),
        "created": NOW - 90_000,
        "updated": NOW - 40_000,
        "tenant": "acme",
        **state,
    }
    body = encode_job(msgspec.convert({"targetUrl": URL, "callbackUrl": None, **(job or {})}, Job))
    entries = [encode_attempt(entry) for entry in attempts]
    return Record(JOB_ID, {name: str(value) for name, value in fields.items()}, body, entries)


def told(given: Record, **around: Any) -> Explanation:
    found = explain(given, "acme", QUIET._replace(**around))
    text = msgspec.json.encode(found).decode()
    assert "hunter2" not in text  # of a URL only the host is told
    assert "  " not in text
    for said in (found.where, found.why, found.next, found.do or "."):
        assert said.endswith("."), said
        assert ".." not in said.replace("...", ""), said
    return found


# Not due yet, and due


def test_a_scheduled_job_says_when_it_runs() -> None:
    found = told(record("scheduled", eta=NOW + 5 * 60_000))
    assert found.code == "scheduled"
    assert rfc3339(NOW + 5 * 60_000) in found.why
    assert "in 5 min" in found.why
    assert found.do == f"POST /api/jobs/{JOB_ID}/retry runs it at once."


def test_what_would_hold_a_job_that_is_not_due_is_told() -> None:
    scheduled = record("scheduled", eta=NOW + 1000)
    assert "the pause of all jobs" in told(scheduled, pauses=[ALL_PAUSED]).next
    assert "The circuit of api.example" in told(scheduled, target=Now(Limits(5), 1000)).next


def test_a_queued_job_says_in_which_queue_and_how_many_are_before_it() -> None:
    found = told(record("queued"), ahead=7, running=3)
    assert found.code == "queued"
    assert "40 s" in found.where
    assert "carom.execute.normal (or carom.execute.held" in found.where
    assert "7 unfinished jobs" in found.why
    assert "3 calls" in found.why
    assert found.since == rfc3339(NOW - 40_000)
    assert found.do is None


def test_the_queue_of_other_priorities_is_certain() -> None:
    where = told(record("queued", job={"priority": "high"})).where
    assert "carom.execute.high" in where
    assert "held" not in where


def test_a_job_that_nobody_takes_says_where_to_look() -> None:
    assert told(record("queued")).do is not None
    assert told(record("queued", updated=NOW - 100)).do is None


def test_a_queued_job_for_a_host_with_an_open_circuit() -> None:
    found = told(record("queued"), target=Now(Limits(5, open_seconds=30), 10_000))
    assert found.code == "queued"
    assert f"open since {rfc3339(NOW - 10_000)}" in found.why
    assert f"From {rfc3339(NOW + 20_000)} on one call tries" in found.next


def test_a_job_that_is_past_its_end_and_not_taken() -> None:
    for more in ({}, {"wait_reason": "rate"}):
        assert "ends it as expired" in told(record("queued", expires=NOW - 1, **more)).next


def test_the_end_of_a_job_is_told_while_it_waits() -> None:
    end = f"ends as expired at {rfc3339(NOW + 60_000)}"
    for given in (
        record("queued", expires=NOW + 60_000),
        record("scheduled", eta=NOW + 1000, expires=NOW + 60_000),
        record("waiting", (failed(1),), eta=NOW + 1000, expires=NOW + 60_000),
        record("queued", wait_reason="rate", expires=NOW + 60_000),
    ):
        assert end in told(given).next


# Retries


def test_a_retry_says_when_which_of_how_many_and_why() -> None:
    given = record("waiting", (failed(1), failed(2)), {"maxRetries": 4}, eta=NOW + 2500)
    found = told(given)
    assert found.code == "waiting-for-retry"
    assert "attempt 3 of 5" in found.where
    assert found.why == "Attempt 2 of 5 failed: api.example answered 503."
    assert f"Attempt 3 begins at {rfc3339(NOW + 2500)}, in 2.5 s" in found.next


def test_without_an_answer_the_error_is_told_in_short() -> None:
    error = "cannot connect " * 100
    found = told(record("waiting", (failed(1, None, error, "connect"),), eta=NOW + 1000))
    assert "cannot connect" in found.why
    assert len(found.why) < 400


def test_attempts_are_counted_from_the_generation() -> None:
    attempts = tuple(failed(number) for number in range(1, 6))
    found = told(record("waiting", attempts, {"maxRetries": 3}, base=4, generation=2, eta=NOW + 1000))
    assert "attempt 2 of 4" in found.where


def test_a_retry_that_is_due_is_in_its_queue() -> None:
    found = told(record("waiting", (failed(1),), eta=NOW - 2000))
    assert found.code == "queued"
    assert "attempt 2 of 4" in found.where
    assert found.since == rfc3339(NOW - 2000)


# Held


@pytest.mark.parametrize(
    ("selector", "named", "body"),
    [
        (Selector(), "all jobs", "{}"),
        (Selector(host="api.example"), "jobs for api.example", '{"host": "api.example"}'),
        (
            Selector(label=LabelSelector("team", "Red")),
            "jobs with the label team=Red",
            '{"label": {"key": "team", "value": "Red"}}',
        ),
    ],
)
def test_a_pause_is_named_with_the_request_that_ends_it(selector: Selector, named: str, body: str) -> None:
    pause = Pause("acme", selector, NOW - 60_000)
    for more in ({}, {"wait_reason": "paused"}):
        found = told(record("queued", job={"labels": {"team": "Red"}}, **more), pauses=[pause])
        assert found.code == "held-paused"
        assert f"The pause of {named} (since {rfc3339(NOW - 60_000)})" in found.why
        assert found.do is not None
        assert f"POST /api/resume with {body} " in found.do


def test_pauses_of_other_jobs_are_not_named() -> None:
    others = [
        Pause("acme", Selector(host="other.example"), 1),
        Pause("acme", Selector(label=LabelSelector("team", "blue")), 1),
        Pause("others", Selector(), 1),
    ]
    assert told(record("queued"), pauses=others).code == "queued"


def test_a_pause_that_is_a_moment_old_may_be_news_to_an_executor() -> None:
    young = Pause("acme", Selector(), NOW - 400)
    assert "may still begin it" in told(record("queued"), pauses=[young]).why
    assert "may still begin it" not in told(record("queued"), pauses=[ALL_PAUSED]).why
    assert "may still begin it" not in told(record("queued", wait_reason="paused"), pauses=[young]).why


def test_several_pauses_must_all_end() -> None:
    two = [ALL_PAUSED, Pause("acme", Selector(host="api.example"), NOW - 5000)]
    found = told(record("queued"), pauses=two)
    assert "1 more pause must end" in found.next


def test_a_pause_that_is_over_holds_until_the_next_look() -> None:
    found = told(record("queued", wait_reason="paused", holds=3))
    assert found.code == "held-paused"
    assert "no longer in force" in found.why
    assert "25 s" in found.next
    assert found.do is None


def test_concurrency_names_the_limit_and_who_may_sees_its_use() -> None:
    held = record("queued", wait_reason="concurrency")
    found = told(held, target=Now(Limits(7)))
    assert found.code == "held-concurrency"
    assert "at most 7 at once" in found.why
    assert "in use" not in found.why
    assert "6 are in use" in told(held, target=Now(Limits(7), None, 6)).why


def test_a_rate_is_named_and_one_that_is_gone() -> None:
    held = record("queued", wait_reason="rate")
    assert "2.5 calls a second, at most 3 at once" in told(held, target=Now(Limits(50, 2.5, 3))).why
    assert "has none now" in told(held).why


def test_an_open_circuit_says_when_it_is_tried() -> None:
    held = record("queued", wait_reason="circuit-open")
    limits = Limits(50, open_seconds=30)
    found = told(held, target=Now(limits, 10_000))
    assert found.code == "held-circuit-open"
    assert f"From {rfc3339(NOW + 20_000)} on one call" in found.next
    assert "the next that looks makes it" in told(held, target=Now(limits, 40_000)).next
    assert "it is closed now" in told(held, target=Now(limits)).why


def test_an_unproven_host_looks_less_often() -> None:
    found = told(record("queued", wait_reason="unproven-host"))
    assert found.code == "held-unproven-host"
    assert "400 s" in found.next


def test_a_held_job_meets_a_pause_that_came_later() -> None:
    assert "the pause of all jobs" in told(record("queued", wait_reason="rate"), pauses=[ALL_PAUSED]).next


def test_a_reason_that_is_not_known_here_is_told_as_it_is() -> None:
    found = told(record("queued", wait_reason="moon-phase"))
    assert found.code == "queued"
    assert "moon-phase" in found.why


def test_every_wait_reason_has_a_code() -> None:
    codes = {told(record("queued", wait_reason=reason)).code for reason in WAIT_REASONS}
    assert codes == {f"held-{reason}" for reason in WAIT_REASONS}


# Running


def running(**state: Any) -> Record:
    owner = "carom-executor-5d9-x2-0a1b2c3d/6f0e"
    return record(
        "in_progress", (failed(1),), updated=NOW - 2000, owner=owner, claims=1, **({"lease": NOW + 8000} | state)
    )


def test_a_running_attempt_names_its_process_since_when_and_its_lease() -> None:
    found = told(running(), pauses=[ALL_PAUSED])
    assert found.code == "running"
    assert found.where == "Attempt 2 of 4 is with the process carom-executor-5d9-x2-0a1b2c3d."
    assert "2.0 s of at most 30 s" in found.why
    assert rfc3339(NOW + 8000) in found.next
    assert found.since == rfc3339(NOW - 2000)
    assert "pause" not in found.next  # what runs is finished


def test_a_call_that_outlasts_its_timeout_is_about_something_else() -> None:
    found = told(record("in_progress", updated=NOW - 60_000, lease=NOW + 5000, owner="p/m", claims=1))
    assert "must be over by now" in found.why
    assert found.do is not None
    assert "/debug/tasks" in found.do


def test_a_lease_that_ran_out_or_was_given_back() -> None:
    over = told(running(lease=NOW - 500))
    assert over.code == "lease-over"
    assert "died, stands still, or does not reach Redis" in over.why
    back = told(running(lease=0))
    assert back.code == "lease-over"
    assert "shutting down" in back.why


def test_repeated_begins_are_told() -> None:
    again = record("in_progress", updated=NOW - 10, lease=NOW + 5000, owner="p/m", claims=4)
    assert "begun 4 times" in told(again).why


def test_the_process_of_an_owner() -> None:
    assert process_of("host-1a2b/77") == "host-1a2b"
    assert process_of("") == "unknown"


# Final


def test_each_final_status() -> None:
    done = Attempt(1, 204, True, rfc3339(NOW))
    assert told(record("completed", (done,), completed=NOW)).why == "api.example answered 204."
    assert told(record("cancelled", completed=NOW, error="cancelled")).code == "cancelled"
    late = told(record("expired", (failed(1),), completed=NOW, expires=NOW - 1, error="expired"))
    assert (late.code, late.since) == ("expired", rfc3339(NOW))
    assert "answered 503" in late.why
    refused = told(record("failed", (failed(1, 404),), completed=NOW, error="HTTP 404", reason="http-4xx"))
    assert (refused.code, refused.why) == ("failed", "HTTP 404.")
    assert refused.do == f"POST /api/jobs/{JOB_ID}/retry runs it again."


def test_a_dead_letter_says_how_to_redrive_it() -> None:
    attempts = (failed(1), failed(2))
    found = told(
        record("failed", attempts, {"maxRetries": 1}, completed=NOW, dead=1, error="HTTP 503", reason="http-5xx")
    )
    assert found.code == "dead-letter"
    assert "carom.dead.execute" in found.where
    assert found.do is not None
    assert f"POST /api/dead-letters/{JOB_ID}/redrive" in found.do
    crashed = told(record("failed", completed=NOW, dead=1, error="crash-loop: begun too often", reason="crash-loop"))
    assert "crashed whatever took it" in crashed.where


def test_an_act_whose_message_is_not_out_yet() -> None:
    assert told(record("queued", owed="execute tok", claims=0)).code == "act-owed"
    assert told(record("in_progress", owed="execute tok", lease=NOW + 1, owner="p/m")).code == "running"


# Callbacks


def done(**state: Any) -> Record:
    callback = {"callbackUrl": "https://shop.example/done?secret=hunter2"}
    return record("completed", (Attempt(1, 200, True, rfc3339(NOW)),), callback, **({"completed": NOW - 3000} | state))


def step_of(given: Record, **around: Any) -> parts.Step:
    step = told(given, **around).callback
    assert step is not None
    return step


def test_there_is_nothing_to_say_of_a_callback_before_the_end_or_where_none_is_wanted() -> None:
    assert told(record("queued", job={"callbackUrl": "https://shop.example/"})).callback is None
    assert told(record("completed", completed=NOW)).callback is None


def test_callbacks_that_are_due() -> None:
    first = step_of(done(callback="pending"))
    assert (first.code, first.since) == ("callback-queued", rfc3339(NOW - 3000))
    assert "for attempt 1: in carom.callback" in first.where
    again = step_of(
        done(callback="pending", callback_attempt=1, callback_eta=NOW - 1, callback_error="receiver said 500")
    )
    assert again.why == "Attempt 1 failed: receiver said 500."
    assert "gave it back, or died" in step_of(done(callback="pending", callback_claims=1, callback_lease=0)).why
    closed = step_of(done(callback="pending"), callback=Now(Limits(1), 1000))
    assert "The circuit of shop.example" in closed.why


def test_callbacks_that_run_or_wait() -> None:
    runs = step_of(done(callback="pending", callback_lease=NOW + 9000, callback_owner="cb-1/x", callback_claims=1))
    assert runs.code == "callback-running"
    assert "process cb-1" in runs.where
    waits = step_of(done(callback="pending", callback_attempt=2, callback_eta=NOW + 60_000, callback_error="HTTP 500"))
    assert waits.code == "callback-waiting-for-retry"
    assert waits.why == "Attempt 2 failed: HTTP 500."
    assert f"Attempt 3 begins at {rfc3339(NOW + 60_000)}" in waits.next


def test_how_often_a_callback_is_tried_is_told_where_the_job_says_it() -> None:
    retry = {"callback": {"url": "https://shop.example/", "retry": {"maxRetries": 2, "retryDelay": 1000}}}
    given = record(
        "completed", (), {"callbackUrl": None} | retry, completed=NOW, callback="pending", callback_attempt=1
    )
    assert "attempt 2 of 3" in step_of(given).where


def test_callbacks_that_are_over() -> None:
    assert step_of(done(callback="delivered", callback_attempt=2)).code == "callback-delivered"
    gone = step_of(done(callback="failed", callback_attempt=1, callback_error="the receiver answered 410"))
    assert (gone.code, gone.do) == ("callback-failed", None)
    dead = step_of(done(callback="failed", callback_attempt=8, callback_error="HTTP 500", callback_dead=1))
    assert dead.code == "callback-dead-letter"
    assert dead.do is not None
    assert f"/api/dead-letters/{JOB_ID}/redrive?kind=callback" in dead.do


def test_a_callback_that_is_owed_and_one_that_is_of_other_events() -> None:
    assert step_of(done(callback="pending", owed="callback tok")).code == "callback-owed"
    events = {"callback": {"url": "https://shop.example/", "events": ["failed"]}}
    other = record("completed", (), {"callbackUrl": None} | events, completed=NOW, callback="none")
    assert step_of(other).code == "callback-not-wanted"


# Together


def test_codes_are_all_there_and_all_different() -> None:
    assert get_args(Code) == parts.CODES
    assert len(set(parts.CODES)) == len(parts.CODES)


def test_nobody_sees_more_by_an_explanation_than_in_the_document() -> None:
    """An answer of the target is quoted nowhere."""
    secret = msgspec.Raw(b'"hunter2"')
    entry = msgspec.structs.replace(failed(1), response=secret)
    told(record("waiting", (entry,), {"headers": {"Authorization": "hunter2"}, "payload": secret}, eta=NOW + 1000))


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "0.0 s"), (400, "0.4 s"), (17_000, "17 s"), (600_000, "10 min"), (9e6, "2.5 h"), (2e8, "2 days")],
)
def test_durations(ms: float, text: str) -> None:
    assert parts.seconds(ms) == text


def test_what_cannot_be_shown() -> None:
    assert "waiting, 2 attempts" in of_sealed({"status": "waiting", "attempt": "2"})
    assert rfc3339(NOW) in of_outlived({"status": "cancelled", "stale_until": str(NOW)})
