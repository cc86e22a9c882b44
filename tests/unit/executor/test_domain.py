"""What an attempt's outcome means."""

import json
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from carom_common.contracts.job import Job, RetryPolicy, SuccessRules
from carom_common.contracts.message import Attempt, Detail, ExecuteMessage, Timing
from carom_executor.domain import (
    NoResponse,
    Response,
    call_timeout,
    callback_message,
    crash_loop,
    cut_off,
    dead_letter,
    decide,
    embed,
    expired,
    has_expired,
    retry_message,
)

NOW = 1_716_033_600_000


def message(attempt: int = 1, **job: Any) -> ExecuteMessage:
    fields: dict[str, Any] = {"target_url": "http://t.example/", "callback_url": "http://c.example/", **job}
    return ExecuteMessage(1, "default", "job-1", Job(**fields), NOW - 500, attempt=attempt)


def answer(status: int, body: bytes = b'{"ok":true}', headers: dict[str, str] | None = None) -> Response:
    return Response(status, {"content-type": "application/json", **(headers or {})}, body, False)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_completes(status: int) -> None:
    decision = decide(message(), answer(status), NOW, 12)
    assert (decision.status, decision.error, decision.dead, decision.eta) == ("completed", "", False, 0)
    assert decision.entry is not None
    assert decision.entry.success
    assert decision.entry.duration_ms == 12


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_transient_statuses_wait_for_a_retry(status: int) -> None:
    decision = decide(message(), answer(status), NOW, 1)
    assert decision.status == "waiting"
    assert NOW + 500 <= decision.eta <= NOW + 1000
    assert str(status) in decision.error


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_other_statuses_fail_at_once_and_are_no_dead_letter(status: int) -> None:
    decision = decide(message(), answer(status), NOW, 1)
    assert (decision.status, decision.dead) == ("failed", False)
    assert decision.error == f"the target answered {status}"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (
            "https://u:hunter2@elsewhere.example:8443/hunter2?token=hunter2#hunter2",
            "redirect to https://elsewhere.example:8443 that",
        ),
        ("/hunter2", "redirect that"),
        ("http://[hunter2", "redirect that"),
    ],
)
def test_a_redirect_that_is_not_followed_names_no_more_than_its_origin(location: str, told: str) -> None:
    """The error is told to callers who may see nothing of the response."""
    decision = decide(message(), answer(302, b"", {"location": location}), NOW, 1)
    assert decision.status == "failed"
    assert told in decision.error
    assert "hunter2" not in decision.error


def test_the_job_says_which_statuses_are_retried() -> None:
    policy = RetryPolicy(statuses=(404, "3xx"))
    assert decide(message(retry=policy), answer(404), NOW, 1).status == "waiting"
    assert decide(message(retry=policy), answer(301), NOW, 1).status == "waiting"
    assert decide(message(retry=policy), answer(500), NOW, 1).status == "failed"


def test_spent_retries_are_a_dead_letter() -> None:
    decision = decide(message(attempt=4), answer(500), NOW, 1)
    assert (decision.status, decision.dead) == ("failed", True)
    assert "attempt 4 of 4" in decision.error
    assert decide(message(attempt=1, max_retries=0), answer(500), NOW, 1).dead


def test_no_response_is_logged_without_a_status() -> None:
    decision = decide(message(), NoResponse("timeout", True, "timed out after 100 ms"), NOW, 100)
    assert decision.status == "waiting"
    assert decision.entry is not None
    assert (decision.entry.status_code, decision.entry.success) == (None, False)
    assert decision.entry.error == "timed out after 100 ms"


def test_a_refused_address_is_final() -> None:
    decision = decide(message(), NoResponse("refused", False, "refused by the egress guard: 10.0.0.1"), NOW, 0)
    assert (decision.status, decision.dead) == ("failed", False)
    assert "refused" in decision.error


@pytest.mark.parametrize(
    ("status", "header", "delay"),
    [(429, "7", 7000), (503, "7", 7000), (503, "Sat, 18 May 2024 12:00:09 GMT", 9000), (429, "100000", 60_000)],
)
def test_retry_after_replaces_the_computed_delay_up_to_max_delay(status: int, header: str, delay: int) -> None:
    policy = RetryPolicy(max_delay=60_000)
    assert decide(message(retry=policy), answer(status, headers={"retry-after": header}), NOW, 1).eta == NOW + delay


def test_retry_after_on_other_statuses_is_ignored() -> None:
    assert decide(message(), answer(500, headers={"retry-after": "7"}), NOW, 1).eta <= NOW + 1000


def test_a_crash_loop_fails_and_is_a_dead_letter() -> None:
    decision = crash_loop(message(), NOW)
    assert (decision.status, decision.dead) == ("failed", True)
    assert decision.error.startswith("crash-loop")


@pytest.mark.parametrize(
    ("content_type", "body", "embedded"),
    [
        ("application/json", b'{"ok": true}', {"ok": True}),
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        ("", b"5", 5),
        ("text/plain", b"5", "5"),
        ("text/plain; charset=latin-1", "é".encode("latin-1"), "é"),
        ("application/json", b"not json", "not json"),
        ("application/json", b"", ""),
        ("text/html", "<p>ü</p>".encode(), "<p>ü</p>"),
        ("image/png", b"\x89PNG\xff", {"base64": "iVBOR/8=", "contentType": "image/png"}),
        ("application/json", b"[" * 5000 + b"]" * 5000, "[" * 5000 + "]" * 5000),
    ],
)
def test_a_response_is_kept_as_json_else_text_else_base64(content_type: str, body: bytes, embedded: Any) -> None:
    assert json.loads(embed(Response(200, {"content-type": content_type}, body, False))) == embedded


def test_a_truncated_response_is_text_even_when_cut_inside_a_character() -> None:
    cut = Response(200, {"content-type": "application/json"}, '{"a":"ü'.encode()[:-1], True)
    assert json.loads(embed(cut)) == '{"a":"'


@given(st.binary(max_size=300), st.sampled_from(["", "application/json", "text/plain", "image/png"]), st.booleans())
def test_whatever_comes_back_can_be_embedded(body: bytes, content_type: str, truncated: bool) -> None:
    embedded = embed(Response(200, {"content-type": content_type}, body, truncated))
    msgspec.json.decode(b'{"response":' + embedded + b"}")


def test_the_next_messages_carry_what_was_tried() -> None:
    big = json.dumps({"noise": zlib.compress(b"x").hex() * 200}).encode()
    first = decide(message(), answer(500, big), NOW, 1)
    assert first.entry is not None
    second = retry_message(message(), first.entry, first.eta)
    assert (second.attempt, second.eta) == (2, first.eta)
    assert bytes(second.attempts[0].response) == big, "the last response goes in full"
    done = decide(second, answer(200), NOW + 5, 1)
    callback = callback_message(second, done.status, NOW + 5, done.entry)
    assert [attempt.attempt for attempt in callback.attempts] == [1, 2]
    assert len(bytes(callback.attempts[0].response)) < 2100, "earlier responses are cut"
    assert callback.attempts[0].truncated
    assert bytes(callback.attempts[1].response) == b'{"ok":true}'


TIMEOUT = NoResponse("timeout", True, "timed out after 40 ms")
DETAIL = Detail(Timing(total=1.5), "192.0.2.1:80", {"Server": "x"})


def until(expires: int, attempt: int = 1, **job: Any) -> ExecuteMessage:
    return replace(message(attempt, **job), expires=expires)


def test_success_rules_win_over_the_statuses_that_are_retried() -> None:
    rules: dict[str, Any] = {"success": SuccessRules((200, 503)), "retry": RetryPolicy(statuses=("5xx", 404))}
    assert decide(message(**rules), answer(503), NOW, 1).status == "completed"
    assert decide(message(**rules), answer(404), NOW, 1).status == "waiting"
    assert decide(message(**rules), answer(201), NOW, 1).status == "failed"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"carom-retry": "no"}, "failed"), ({"carom-retry": " No "}, "failed"), ({"carom-retry": "yes"}, "waiting")],
)
def test_a_target_can_refuse_further_attempts(headers: dict[str, str], status: str) -> None:
    decision = decide(message(), answer(503, headers=headers), NOW, 1)
    assert (decision.status, decision.dead) == (status, False)
    assert decision.reason == ("retry-refused" if status == "failed" else "http-5xx")
    assert decide(message(), answer(200, headers=headers), NOW, 1).status == "completed"


@pytest.mark.parametrize(("status", "reason"), [(404, "http-4xx"), (500, "http-5xx"), (302, "http-other")])
def test_the_reason_is_a_bounded_code(status: int, reason: str) -> None:
    decision = decide(message(max_retries=0), answer(status), NOW, 1)
    assert decision.entry is not None
    assert (decision.reason, decision.entry.reason) == (reason, reason)
    assert decide(message(), answer(200), NOW, 1).reason == ""


def test_attempts_of_earlier_generations_use_up_no_retries() -> None:
    again = replace(message(attempt=5, max_retries=1), base=4, generation=2)
    first = decide(again, answer(500), NOW, 1)
    assert (first.status, first.dead) == ("waiting", False)
    assert NOW + 500 <= first.eta <= NOW + 1000, "the backoff begins anew"
    assert first.entry is not None
    assert (first.entry.attempt, first.entry.generation) == (5, 2)
    last = decide(replace(again, attempt=6), answer(500), NOW, 1)
    assert (last.status, last.dead) == ("failed", True)
    assert "attempt 2 of 2" in last.error


@pytest.mark.parametrize(("expires", "over"), [(0, False), (NOW - 1, True), (NOW, True), (NOW + 1, False)])
def test_a_job_has_expired_from_its_very_time_on(expires: int, over: bool) -> None:
    assert has_expired(until(expires), NOW) is over
    assert decide(until(expires), answer(500), NOW, 1).status == ("expired" if over else "waiting")
    assert decide(until(expires), answer(404), NOW, 1).status == ("expired" if over else "failed")
    assert decide(until(expires), answer(200), NOW, 1).status == "completed", "what is done is done"


def test_an_expired_attempt_is_kept_with_its_own_reason_and_is_no_dead_letter() -> None:
    decision = decide(until(NOW, attempt=4), answer(500), NOW, 1)
    assert (decision.status, decision.reason, decision.dead, decision.eta) == ("expired", "expired", False, 0)
    assert decision.error == "expired; the last attempt: the target answered 500"
    assert decision.entry is not None
    assert (decision.entry.reason, decision.entry.error) == ("http-5xx", "the target answered 500")


@pytest.mark.parametrize("headers", [{}, {"retry-after": "60"}])
def test_a_retry_beyond_the_expiry_comes_back_at_the_expiry(headers: dict[str, str]) -> None:
    assert decide(until(NOW + 300), answer(503, headers=headers), NOW, 1).eta == NOW + 300
    assert decide(until(NOW + 3_600_000), answer(503), NOW, 1).eta <= NOW + 1000


def test_expired_without_a_call_tells_the_last_error_and_counts_no_attempt() -> None:
    before = expired(until(NOW))
    assert (before.status, before.reason, before.entry, before.dead) == ("expired", "expired", None, False)
    assert before.error == "expired before it could be called"
    tried = (Attempt(1, 503, False, "t", error="the target answered 503"),)
    assert expired(replace(until(NOW), attempts=tried)).error == "expired; the last attempt: the target answered 503"
    assert callback_message(replace(until(NOW), attempts=tried), "expired", NOW, None).attempts == tried


@pytest.mark.parametrize(("expires", "timeout"), [(0, 30_000), (NOW + 40, 40), (NOW + 60_000, 30_000)])
def test_a_call_has_no_more_time_than_the_job(expires: int, timeout: int) -> None:
    assert call_timeout(until(expires), NOW) == timeout


@pytest.mark.parametrize(
    ("expires", "result", "cut"),
    [
        (NOW + 40, TIMEOUT, True),
        (NOW + 40, answer(500), False),
        (NOW + 40, NoResponse("connect", True, "connection refused"), False),
        (NOW + 30_000, TIMEOUT, False),
        (0, TIMEOUT, False),
    ],
)
def test_only_a_call_that_the_expiry_ended_is_cut_off(expires: int, result: Any, cut: bool) -> None:
    assert cut_off(until(expires), result, NOW) is cut


def test_a_crash_loop_of_a_job_is_told_with_its_attempt() -> None:
    decision = crash_loop(replace(message(attempt=3), generation=2), NOW)
    assert decision.reason == "crash-loop"
    assert decision.entry is not None
    assert (decision.entry.attempt, decision.entry.generation, decision.entry.reason) == (3, 2, "crash-loop")
    assert (decision.entry.status_code, decision.entry.detail) == (None, None)


def test_the_detail_of_a_call_is_in_its_entry_and_in_no_message() -> None:
    for result in (answer(500)._replace(detail=DETAIL), TIMEOUT._replace(detail=DETAIL)):
        decision = decide(message(), result, NOW, 1)
        assert decision.entry is not None
        assert decision.entry.detail == DETAIL
        retried = retry_message(message(), decision.entry, NOW)
        twice = retry_message(retried, decision.entry, NOW)
        final = callback_message(retried, "failed", NOW, decision.entry)
        for carried in (retried, twice, dead_letter(message(), decision.entry), final):
            assert all(attempt.detail is None for attempt in carried.attempts)
            assert b"192.0.2.1" not in msgspec.json.encode(carried)


def test_an_attempt_event_tells_of_a_job_that_goes_on() -> None:
    decision = decide(message(), answer(500), NOW, 1)
    told = callback_message(message(), "waiting", NOW, decision.entry, error=decision.error, event="attempt")
    assert (told.event, told.status, len(told.attempts)) == ("attempt", "waiting", 1)
