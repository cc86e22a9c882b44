"""What an attempt's outcome means."""

import json
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from carom_common.contracts.job import Job, RetryPolicy
from carom_common.contracts.message import ExecuteMessage
from carom_executor.domain import (
    NoResponse,
    Response,
    callback_message,
    crash_loop,
    decide,
    embed,
    outgoing,
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


def test_a_redirect_that_is_not_followed_names_its_location() -> None:
    decision = decide(message(), answer(302, b"", {"location": "https://elsewhere.example/"}), NOW, 1)
    assert decision.status == "failed"
    assert "https://elsewhere.example/" in decision.error


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


def test_json_goes_out_with_its_content_type() -> None:
    headers, body = outgoing(message(method="POST", payload=Raw(b'{"a": 1}')))
    assert body == b'{"a": 1}'
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("carom/")
    assert headers["Idempotency-Key"] == "job-1"
    assert (headers["X-Carom-Job-Id"], headers["X-Carom-Attempt"]) == ("job-1", "1")


def test_the_jobs_own_headers_win() -> None:
    own = {"content-type": "text/plain", "user-agent": "me", "idempotency-key": "k"}
    headers, body = outgoing(message(method="PUT", payload=Raw(b'"caf\\u00e9"'), headers=own))
    assert body == "café".encode()
    assert {name: headers[name] for name in own} == own
    assert "Content-Type" not in headers


def test_a_string_under_a_json_content_type_stays_json() -> None:
    _, body = outgoing(message(method="POST", payload=Raw(b'"text"'), headers={"Content-Type": "application/json"}))
    assert body == b'"text"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_and_head_have_no_body(method: str) -> None:
    assert outgoing(message(method=method, payload=Raw(b"{}")))[1] is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_other_method_sends_the_payload(method: str) -> None:
    assert outgoing(message(method=method, payload=Raw(b"{}")))[1] == b"{}"


def test_the_next_messages_carry_what_was_tried() -> None:
    big = json.dumps({"noise": zlib.compress(b"x").hex() * 200}).encode()
    first = decide(message(), answer(500, big), NOW, 1)
    second = retry_message(message(), first.entry, first.eta)
    assert (second.attempt, second.eta) == (2, first.eta)
    assert bytes(second.attempts[0].response) == big, "the last response goes in full"
    done = decide(second, answer(200), NOW + 5, 1)
    callback = callback_message(second, done.status, done.error, done.dead, NOW + 5, done.entry)
    assert [attempt.attempt for attempt in callback.attempts] == [1, 2]
    assert len(bytes(callback.attempts[0].response)) < 2100, "earlier responses are cut"
    assert callback.attempts[0].truncated
    assert bytes(callback.attempts[1].response) == b'{"ok":true}'
