"""Whole documents against the seed's examples: the same keys in the same order, the same types, the same values.

Only what differs by nature is substituted: URLs, ids and times.
"""

import json
import re
from typing import Any

import pytest
from tests.support.client import Api
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from devstack.services import Stack

pytestmark = pytest.mark.stack

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

SUBMITTED: dict[str, Any] = {
    "method": "POST",
    "headers": {"Content-Type": "application/json"},
    "maxRetries": 3,
    "retryDelay": 1000,
}

# The examples of shared/seed/async-job-processor.md, as they stand there.

IN_PROGRESS = """
{
  "status": "in_progress",
  "attempts": "0",
  "targetUrl": "https://httpbin.org/post",
  "method": "POST",
  "headers": { "Content-Type": "application/json" },
  "payload": { "hello": "world" },
  "callbackUrl": "https://example.com/callback",
  "maxRetries": "3",
  "retryDelay": "1000",
  "createdAt": "2024-05-18T12:00:00.000Z",
  "updatedAt": "2024-05-18T12:00:01.000Z",
  "attemptsLog": []
}
"""

COMPLETED = """
{
  "status": "completed",
  "attempts": "1",
  "targetUrl": "https://example.com/hook",
  "method": "POST",
  "headers": { "Content-Type": "application/json" },
  "payload": { "foo": "bar" },
  "callbackUrl": "https://your-app.com/callback",
  "maxRetries": "3",
  "retryDelay": "1000",
  "createdAt": "2024-05-18T12:00:00.000Z",
  "updatedAt": "2024-05-18T12:00:02.000Z",
  "lastResponse": { "ok": true },
  "error": "",
  "attemptsLog": [
    {
      "attempt": 1,
      "statusCode": 200,
      "success": true,
      "timestamp": "2024-05-18T12:00:02.000Z",
      "response": { "ok": true }
    }
  ]
}
"""


def golden(example: str, shown: dict[str, Any], **different: Any) -> None:
    """The document is the example, URLs and times apart; `different` says what this test means to change."""
    expected = json.loads(example) | different
    assert TIME.fullmatch(shown["createdAt"])
    assert TIME.fullmatch(shown["updatedAt"])
    assert shown["createdAt"] <= shown["updatedAt"]
    for entry in shown["attemptsLog"]:
        assert TIME.fullmatch(entry["timestamp"])
        assert shown["createdAt"] <= entry["timestamp"] <= shown["updatedAt"]
    assert text(shown) == text(expected)


def text(document: dict[str, Any]) -> str:
    """Order counts, so documents are compared as text."""
    neutral = TIME.sub("<time>", json.dumps(document, indent=2, ensure_ascii=False))
    return re.sub(r'"(targetUrl|callbackUrl)": "https?://[^"]+"', r'"\1": "<url>"', neutral)


async def test_queued_in_progress_and_completed(api: Api, target: Target, stack: Stack) -> None:
    """One job through its life: the seed's document of each state is the seed's example."""
    endpoint, callback = target.endpoint(respond(value={"ok": True}, delay=1)), target.endpoint()
    example = json.loads(IN_PROGRESS)
    stack.executor.freeze()
    try:
        job_id = await api.submit(endpoint.url, callback.url, payload=example["payload"], **SUBMITTED)
        queued = await api.seed(job_id)
    finally:
        stack.executor.resume()
    golden(IN_PROGRESS, queued, status="queued")
    assert queued["targetUrl"] == endpoint.url
    assert queued["callbackUrl"] == callback.url
    assert queued["createdAt"] == queued["updatedAt"]

    await endpoint.one()
    golden(IN_PROGRESS, await api.seed(job_id))

    await api.wait_for_status(job_id, "completed")
    golden(COMPLETED, await api.seed(job_id), payload=example["payload"])


async def test_waiting_is_shown_as_in_progress(api: Api, target: Target) -> None:
    """Between two attempts the seed's document says in_progress, with what was tried so far; the typed one, waiting."""
    endpoint = target.endpoint(respond(503, {"ok": False}), respond())
    job_id = await api.submit(endpoint.url, payload={"hello": "world"}, retry={"jitter": "none"}, **SUBMITTED)
    typed = await api.wait_for_status(job_id, "waiting")
    entry = {
        "attempt": 1,
        "statusCode": 503,
        "success": False,
        "timestamp": typed["attemptsLog"][0]["timestamp"],
        "response": {"ok": False},
        "error": "the target answered 503",
    }
    golden(IN_PROGRESS, await api.seed(job_id), attempts="1", callbackUrl=None, attemptsLog=[entry])
    await api.wait_for_status(job_id, "completed")


async def test_failed(api: Api, target: Target) -> None:
    """A failed job's document is the completed one with the error's text."""
    endpoint = target.endpoint(respond(422, {"ok": False}))
    job_id = await api.submit(endpoint.url, target.endpoint().url, payload={"foo": "bar"}, **SUBMITTED)
    await api.wait_for_status(job_id, "failed")
    shown = await api.seed(job_id)
    error = "the target answered 422"
    entry = {
        "attempt": 1,
        "statusCode": 422,
        "success": False,
        "timestamp": shown["updatedAt"],
        "response": {"ok": False},
        "error": error,
    }
    golden(COMPLETED, shown, status="failed", lastResponse={"ok": False}, error=error, attemptsLog=[entry])


async def test_an_attempt_without_a_response(api: Api) -> None:
    """statusCode null, success false and the error, no response."""
    job_id = await api.submit("http://10.0.0.1/", "http://127.0.0.1:9/", payload={"foo": "bar"}, **SUBMITTED)
    await api.wait_for_status(job_id, "failed")
    shown = await api.seed(job_id)
    error = "refused by the egress guard: 10.0.0.1 is a private address"
    entry = {
        "attempt": 1,
        "statusCode": None,
        "success": False,
        "timestamp": shown["updatedAt"],
        "error": error,
    }
    golden(COMPLETED, shown, status="failed", lastResponse=None, error=error, attemptsLog=[entry])


async def test_typed(api: Api, target: Target) -> None:
    """The typed document whole: numbers as numbers, times in RFC 3339, all of it in a fixed order."""
    endpoint, callback = target.endpoint(respond(503), respond(200, {"ok": True})), target.endpoint()
    fields = {
        "method": "PUT",
        "headers": {"X-One": "1"},
        "payload": [1, None, "two"],
        "maxRetries": 1,
        "retryDelay": 1000,
        "timeout": 5000,
        "retry": {"strategy": "fixed", "maxDelay": 1000, "statuses": [503]},
        "followRedirects": True,
    }
    job_id = await api.submit(endpoint.url, callback.url, **fields)
    waiting = await api.wait_for_status(job_id, "waiting")
    assert TIME.fullmatch(waiting["nextAttemptAt"])
    await api.wait_for_callback(job_id, "delivered")
    shown = await api.typed(job_id)
    durations = [entry["durationMs"] for entry in shown["attemptsLog"]]
    assert all(isinstance(duration, int) and 0 <= duration < 5000 for duration in durations)
    expected = {
        "jobId": job_id,
        "status": "completed",
        "targetUrl": endpoint.url,
        "method": "PUT",
        "headers": {"X-One": "1"},
        "payload": [1, None, "two"],
        "redact": [],
        "sign": False,
        "callbackUrl": callback.url,
        "maxRetries": 1,
        "retryDelay": 1000,
        "priority": "normal",
        "labels": {},
        "success": {"statuses": ["2xx"]},
        "scheduledAt": None,
        "expiresAt": None,
        "timeout": 5000,
        "retry": {"strategy": "fixed", "maxDelay": 1000, "jitter": "none", "statuses": [503]},
        "followRedirects": True,
        "attempts": 2,
        "earlierAttempts": 0,
        "generation": 1,
        "createdAt": "<time>",
        "updatedAt": "<time>",
        "completedAt": "<time>",
        "nextAttemptAt": None,
        "error": "",
        "reason": None,
        "waitReason": None,
        "response": {"status": 200, "body": {"ok": True}},
        "callback": {"status": "delivered", "attempts": 1, "lastError": None, "nextAttemptAt": None},
        "callbackRequest": {
            "url": callback.url,
            "method": "POST",
            "headers": {},
            "events": ["completed", "failed", "cancelled", "expired"],
            "retry": None,
            "timeout": None,
        },
        "attemptsLog": [
            {
                "attempt": 1,
                "statusCode": 503,
                "success": False,
                "timestamp": "<time>",
                "response": {"ok": False},
                "error": "the target answered 503",
                "generation": 1,
                "durationMs": durations[0],
                "reason": "http-5xx",
            },
            {
                "attempt": 2,
                "statusCode": 200,
                "success": True,
                "timestamp": "<time>",
                "response": {"ok": True},
                "generation": 1,
                "durationMs": durations[1],
                "reason": None,
            },
        ],
    }
    assert TIME.sub("<time>", json.dumps(shown, indent=2)) == json.dumps(expected, indent=2)


async def test_a_queued_job_typed(api: Api, target: Target, stack: Stack) -> None:
    """Before the first attempt the same keys are there, empty."""
    endpoint = target.endpoint()
    stack.executor.freeze()
    try:
        job_id = await api.submit(endpoint.url, target.endpoint().url)
        shown = await api.typed(job_id)
    finally:
        stack.executor.resume()
    assert shown["status"] == "queued"
    assert shown["attempts"] == 0
    assert shown["generation"] == 1
    assert [shown[name] for name in ("completedAt", "nextAttemptAt", "response")] == [None, None, None]
    assert shown["error"] == ""
    assert shown["attemptsLog"] == []
    assert shown["callback"] == {"status": "pending", "attempts": 0, "lastError": None, "nextAttemptAt": None}
    done = await api.wait_for_status(job_id, "completed")
    assert list(done) == list(shown)


async def test_what_was_asked_for_is_shown(api: Api, target: Target) -> None:
    """Schedule, expiry and the long form of the callback; secrets are redacted."""
    callback = {
        "url": target.endpoint().url,
        "method": "PUT",
        "headers": {"X-Two": "2", "Authorization": "Bearer hidden"},
        "events": ["failed", "expired"],
        "retry": {"maxRetries": 2, "strategy": "fixed"},
        "timeout": 700,
    }
    fields = {
        "targetUrl": target.endpoint().url,
        "callback": callback,
        "headers": {"X-Api-Key": "hidden", "X-One": "1"},
        "delay": 3_600_000,
        "ttl": 7_200_000,
        "labels": {"team": "billing"},
        "priority": "high",
    }
    answer = await api.post(fields)
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["jobId"]
    shown = await api.typed(job_id)
    assert shown["status"] == "scheduled"
    assert shown["scheduledAt"] == shown["nextAttemptAt"]
    assert shown["scheduledAt"] < shown["expiresAt"]
    assert shown["callbackUrl"] == callback["url"]
    defaults = {"retryDelay": 5000, "maxDelay": 36_000_000, "jitter": "none"}
    assert shown["callbackRequest"] == callback | {
        "headers": {"X-Two": "2", "Authorization": "[redacted]"},
        "retry": defaults | {"maxRetries": 2, "strategy": "fixed"},
    }
    assert shown["headers"] == {"X-Api-Key": "[redacted]", "X-One": "1"}
    assert (shown["labels"], shown["priority"]) == ({"team": "billing"}, "high")
    assert (await api.seed(job_id))["headers"] == shown["headers"]


async def test_documents_are_json_to_the_letter(api: Api, target: Target) -> None:
    """Payloads come back as they were given: large numbers, escapes, unusual characters."""
    endpoint = target.endpoint()
    payload = '{"big":12345678901234567890123,"f":1.10,"e":"\\u00e9\\/","z":{"b":1,"a":2}}'
    body = f'{{"targetUrl":"{endpoint.url}","callbackUrl":null,"method":"POST","payload":{payload}}}'
    answer = await api.post(body.encode())
    job_id = answer.json()["jobId"]
    assert (await endpoint.one()).body == payload.encode()

    async def kept() -> str | None:
        shown = (await api.http.get(f"/api/job/{job_id}")).text
        return shown if payload in shown else None

    await eventually(kept, "the payload is shown as given")
