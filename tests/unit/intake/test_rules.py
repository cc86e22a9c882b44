"""Validation of when a job runs and ends, how it calls back, what success is, its labels and its priority."""

import json
from typing import Any

import pytest

from carom_common.contracts.job import FINAL_EVENTS
from carom_common.domain.clock import rfc3339
from carom_intake.domain.checks import Plan
from carom_intake.domain.submission import InvalidSubmission, Submission, parse_submission

NOW = 1_700_000_000_000
DAY = 86_400_000
YEAR = 365 * DAY
URL = "https://example.com/"


def parsed(**fields: Any) -> Submission:
    return parse_submission(json.dumps({"targetUrl": URL, "callbackUrl": None} | fields).encode(), NOW)


def problems(**fields: Any) -> list[str]:
    """Pointers of what is wrong; `callback` takes the place of `callbackUrl`."""
    body = {"targetUrl": URL, "callbackUrl": None} | fields
    if "callback" in fields and "callbackUrl" not in fields:
        del body["callbackUrl"]
    try:
        parse_submission(json.dumps(body).encode(), NOW)
    except InvalidSubmission as error:
        return [problem.pointer for problem in error.problems]
    return []


def at(offset: int) -> str:
    return rfc3339(NOW + offset)


@pytest.mark.parametrize(
    ("fields", "plan"),
    [
        ({}, Plan(0, 0)),
        ({"delay": 0}, Plan(0, 0)),
        ({"delay": 1}, Plan(NOW + 1, 0)),
        ({"delay": YEAR}, Plan(NOW + YEAR, 0)),
        ({"runAt": at(5000)}, Plan(NOW + 5000, 0)),
        ({"runAt": at(YEAR)}, Plan(NOW + YEAR, 0)),
        ({"runAt": at(0)}, Plan(0, 0)),
        ({"runAt": at(-5000)}, Plan(0, 0)),
        ({"runAt": "1970-01-01T00:00:00Z"}, Plan(0, 0)),
        ({"runAt": "0001-01-01T00:00:00+10:00"}, Plan(0, 0)),
        ({"runAt": "2023-11-15T00:13:20.5+02:00"}, Plan(NOW + 500, 0)),
        ({"ttl": 1}, Plan(0, NOW + 1)),
        ({"ttl": YEAR}, Plan(0, NOW + YEAR)),
        ({"expiresAt": at(7000)}, Plan(0, NOW + 7000)),
        ({"delay": 5000, "ttl": 5001}, Plan(NOW + 5000, NOW + 5001)),
        ({"delay": None, "runAt": None, "ttl": None, "expiresAt": None}, Plan(0, 0)),
        ({"runAt": at(-5000), "ttl": 1000}, Plan(0, NOW + 1000)),
    ],
)
def test_when_a_job_runs_and_ends(fields: dict[str, Any], plan: Plan) -> None:
    """What should have run in the past runs now."""
    assert parsed(**fields).plan == plan


NO_TIMES: tuple[Any, ...] = (
    "",
    "tomorrow",
    "2030-01-01",
    "2030-01-01T00:00:00",
    "2030-02-30T00:00:00Z",
    "2030-01-01T25:00:00Z",
    "2030-01-01T00:00:00+99:00",
    "20300101T000000Z",
    "١٢٣٤-01-01T00:00:00Z",
    1_900_000_000,
    [],
)


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"delay": -1}, ["/delay"]),
        ({"delay": YEAR + 1}, ["/delay"]),
        ({"delay": 1.5}, ["/delay"]),
        ({"delay": "5s"}, ["/delay"]),
        ({"delay": True}, ["/delay"]),
        ({"ttl": 0}, ["/ttl"]),
        ({"ttl": YEAR + 1}, ["/ttl"]),
        ({"runAt": at(YEAR + 1)}, ["/runAt"]),
        ({"expiresAt": at(YEAR + 1)}, ["/expiresAt"]),
        ({"expiresAt": at(0)}, ["/expiresAt"]),
        ({"expiresAt": at(-1)}, ["/expiresAt"]),
        ({"delay": 1, "runAt": at(1)}, ["/delay"]),
        ({"ttl": 1, "expiresAt": at(1)}, ["/ttl"]),
        ({"delay": 5000, "ttl": 5000}, ["/ttl"]),
        ({"runAt": at(5000), "expiresAt": at(4000)}, ["/expiresAt"]),
        *(({field: value}, [f"/{field}"]) for field in ("runAt", "expiresAt") for value in NO_TIMES),
    ],
)
def test_times_that_are_refused(fields: dict[str, Any], pointers: list[str]) -> None:
    assert problems(**fields) == pointers


CALLBACK = {"url": URL}


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"callback": CALLBACK}, []),
        ({"callback": {**CALLBACK, "method": "PUT", "headers": {"Authorization": "Bearer x"}, "timeout": 100}}, []),
        ({"callback": {**CALLBACK, "events": ["attempt", *FINAL_EVENTS]}}, []),
        ({"callback": {**CALLBACK, "retry": {"maxRetries": 0}}}, []),
        ({"callback": {**CALLBACK, "retry": {"maxRetries": 50, "retryDelay": DAY, "strategy": "fixed"}}}, []),
        ({"callback": None, "callbackUrl": URL}, []),
        ({"callback": CALLBACK, "callbackUrl": URL}, ["/callback"]),
        ({"callback": CALLBACK, "callbackUrl": None}, ["/callback"]),
        ({"callback": None}, ["/callbackUrl"]),
        ({"callback": {}}, ["/callback/url"]),
        ({"callback": URL}, ["/callback"]),
        ({"callback": {"url": "ftp://x/"}}, ["/callback/url"]),
        ({"callback": {"url": None}}, ["/callback/url"]),
        ({"callback": {**CALLBACK, "method": "GET"}}, ["/callback/method"]),
        ({"callback": {**CALLBACK, "events": []}}, ["/callback/events"]),
        ({"callback": {**CALLBACK, "events": ["done"]}}, ["/callback/events/0"]),
        ({"callback": {**CALLBACK, "events": ["failed", "failed"]}}, ["/callback/events"]),
        ({"callback": {**CALLBACK, "timeout": 99}}, ["/callback/timeout"]),
        ({"callback": {**CALLBACK, "timeout": 300_001}}, ["/callback/timeout"]),
        ({"callback": {**CALLBACK, "retry": {"maxRetries": 51}}}, ["/callback/retry/maxRetries"]),
        ({"callback": {**CALLBACK, "retry": {"retryDelay": 99}}}, ["/callback/retry/retryDelay"]),
        ({"callback": {**CALLBACK, "retry": {"times": 1}}}, ["/callback/retry/times"]),
        ({"callback": {**CALLBACK, "headers": {"Host": "x"}}}, ["/callback/headers/Host"]),
        ({"callback": {**CALLBACK, "headers": {"Webhook-Id": "x"}}}, ["/callback/headers/Webhook-Id"]),
        ({"callback": {**CALLBACK, "headers": {"content-type": "x"}}}, ["/callback/headers/content-type"]),
        ({"callback": {**CALLBACK, "headers": {"X-A": 1}}}, ["/callback/headers/X-A"]),
        ({"callback": {**CALLBACK, "surprise": 1}}, ["/callback/surprise"]),
    ],
)
def test_callback(fields: dict[str, Any], pointers: list[str]) -> None:
    assert problems(**fields) == pointers


def test_the_short_form_of_callback_wants_the_final_events() -> None:
    job = parsed(callbackUrl=URL).job
    assert job.calls_back is not None
    assert (job.calls_back.url, job.calls_back.method, job.calls_back.events) == (URL, "POST", FINAL_EVENTS)
    assert all(job.wants(event) for event in FINAL_EVENTS)
    assert not job.wants("attempt")
    assert parsed().job.calls_back is None


@pytest.mark.parametrize(
    ("labels", "pointers"),
    [
        ({}, []),
        ({"a": ""}, []),
        ({"team": "billing", "example.com/App_1.x": "A-b_c.9"}, []),
        ({"a" * 63: "v" * 63}, []),
        ({"p" * 253 + "/" + "a" * 63: "x"}, []),
        ({f"l{n}": "x" for n in range(16)}, []),
        ({f"l{n}": "x" for n in range(17)}, ["/labels"]),
        ({"": "x"}, ["/labels/"]),
        ({"-a": "x"}, ["/labels/-a"]),
        ({"a-": "x"}, ["/labels/a-"]),
        ({"a b": "x"}, ["/labels/a b"]),
        ({"ä": "x"}, ["/labels/ä"]),
        ({"a\n": "x"}, ["/labels/a\n"]),
        ({"a" * 64: "x"}, ["/labels/" + "a" * 64]),
        ({"/a": "x"}, ["/labels/~1a"]),
        ({"Upper.com/a": "x"}, ["/labels/Upper.com~1a"]),
        ({"a/b/c": "x"}, ["/labels/a~1b~1c"]),
        ({"a": "v" * 64}, ["/labels/a"]),
        ({"a": ".x"}, ["/labels/a"]),
        ({"a": "x "}, ["/labels/a"]),
        ({"a": "x\n"}, ["/labels/a"]),
        ({"a": "x=y"}, ["/labels/a"]),
        ({"a": 1}, ["/labels/a"]),
        ({"a": None}, ["/labels/a"]),
        ([], ["/labels"]),
        (None, ["/labels"]),
    ],
)
def test_labels_follow_kubernetes(labels: Any, pointers: list[str]) -> None:
    assert problems(labels=labels) == pointers


@pytest.mark.parametrize(
    ("success", "pointers"),
    [
        ({}, []),
        ({"statuses": [200, 404, "3xx"]}, []),
        ({"statuses": list(range(200, 264))}, []),
        ({"statuses": []}, ["/success/statuses"]),
        ({"statuses": list(range(200, 265))}, ["/success/statuses"]),
        ({"statuses": [99]}, ["/success/statuses/0"]),
        ({"statuses": [200, "6xx"]}, ["/success/statuses/1"]),
        ({"statuses": ["2xx\n"]}, ["/success/statuses/0"]),
        ({"statuses": "2xx"}, ["/success/statuses"]),
        ({"codes": [200]}, ["/success/codes"]),
        (None, ["/success"]),
    ],
)
def test_success(success: Any, pointers: list[str]) -> None:
    assert problems(success=success) == pointers


@pytest.mark.parametrize(
    ("priority", "pointers"),
    [("low", []), ("normal", []), ("high", []), ("HIGH", ["/priority"]), (1, ["/priority"]), (None, ["/priority"])],
)
def test_priority(priority: Any, pointers: list[str]) -> None:
    assert problems(priority=priority) == pointers
