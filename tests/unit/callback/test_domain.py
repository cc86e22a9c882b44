"""What a receiver gets, and what its answer means."""

import json

import pytest
from msgspec import Raw
from standardwebhooks.webhooks import Webhook

from carom_callback.domain import judge_answer, judge_failure, webhook_body, webhook_headers, webhook_id
from carom_common.contracts.job import Job
from carom_common.contracts.message import Attempt, CallbackMessage
from carom_common.domain.signatures import signer_in

NOW = 1_716_033_602_000
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
DELAYS = (5.0, 300.0, 1800.0)


def message(callback_attempt: int = 1, *attempts: Attempt) -> CallbackMessage:
    entry = Attempt(1, 200, True, "2024-05-18T12:00:02.000Z", Raw(b'{"ok":true}'))
    return CallbackMessage(
        1,
        "default",
        "job-1",
        Job(target_url="http://t.example/", callback_url="http://c.example/"),
        1_716_033_600_000,
        "completed",
        NOW,
        attempts=attempts or (entry,),
        callback_attempt=callback_attempt,
    )


def test_the_body_is_the_final_result() -> None:
    entry = {
        "attempt": 1,
        "statusCode": 200,
        "success": True,
        "timestamp": "2024-05-18T12:00:02.000Z",
        "response": {"ok": True},
    }
    assert json.loads(webhook_body(message())) == {
        "jobId": "job-1",
        "status": "completed",
        "attempts": 1,
        "response": {"status": 200, "body": {"ok": True}},
        "error": "",
        "createdAt": "2024-05-18T12:00:00.000Z",
        "completedAt": "2024-05-18T12:00:02.000Z",
        "attemptsLog": [entry],
    }


def test_without_an_answer_the_response_is_null() -> None:
    silent = Attempt(1, None, False, "2024-05-18T12:00:02.000Z", error="connection refused")
    assert json.loads(webhook_body(message(1, silent)))["response"] is None


def test_repeats_carry_the_same_id_and_body() -> None:
    first, second = message(1), message(2)
    assert webhook_id(first) == webhook_id(second) == "job-1_1_completed"
    assert webhook_body(first) == webhook_body(second)


def test_a_signature_is_accepted_by_the_standard_library_of_receivers() -> None:
    import time

    body = webhook_body(message())
    headers = webhook_headers(message(), body, int(time.time()), signer_in(SECRET))
    assert Webhook(SECRET).verify(body, headers)


def test_without_a_secret_nothing_is_signed() -> None:
    assert "webhook-signature" not in webhook_headers(message(), b"{}", 1, None)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_2xx_delivers(status: int) -> None:
    assert judge_answer(message(), status, None, DELAYS, NOW).status == "delivered"


def test_410_ends_it_without_a_dead_letter() -> None:
    decision = judge_answer(message(), 410, None, DELAYS, NOW)
    assert (decision.status, decision.outcome, decision.dead) == ("failed", "gone", False)


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
def test_everything_else_is_tried_again_on_schedule(status: int) -> None:
    decision = judge_answer(message(), status, None, DELAYS, NOW)
    assert decision.status == "pending"
    assert decision.wait in (4000, 5000), "a bucket near 5 s"
    assert decision.eta == NOW + decision.wait


def test_retry_after_is_honoured() -> None:
    assert judge_answer(message(), 503, "77", DELAYS, NOW).wait == 77_000
    assert judge_answer(message(), 429, "9999999", DELAYS, NOW).wait == 86_400_000


def test_spent_attempts_are_a_dead_letter() -> None:
    decision = judge_answer(message(4), 500, None, DELAYS, NOW)
    assert (decision.status, decision.outcome, decision.dead) == ("failed", "exhausted", True)


def test_a_refused_address_is_a_dead_letter_at_once() -> None:
    decision = judge_failure(message(), "refused by the egress guard", False, DELAYS, NOW)
    assert (decision.status, decision.outcome, decision.dead) == ("failed", "refused", True)


def test_no_answer_is_tried_again() -> None:
    assert judge_failure(message(), "timed out", True, DELAYS, NOW).status == "pending"
