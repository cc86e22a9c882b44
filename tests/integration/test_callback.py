"""The final result on its way back to the client."""

import asyncio
import itertools
import json
import re
import time
from datetime import datetime
from typing import Any

import pytest
import standardwebhooks
from tests.support.broker import Broker
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import CLOSE, HANG, RESET, Received, Target, respond
from tests.support.waiting import eventually

from carom_common.topology import DEAD_CALLBACK_QUEUE, DEAD_EXECUTE_QUEUE
from carom_common.version import USER_AGENT

pytestmark = pytest.mark.stack

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}}
ATTEMPTS = 4
"""Calls to a receiver before Carom gives up: CAROM_CALLBACK_DELAYS of the stack names three delays."""


def verify(received: Received, secret: str) -> Any:
    """The body, once the public library of Standard Webhooks has checked its signature and timestamp."""
    headers = {name.lower(): value for name, value in received.headers}
    return standardwebhooks.Webhook(secret).verify(received.body, headers)


async def test_body_of_a_completed_job(api: Api, target: Target) -> None:
    """The whole body, its keys in order."""
    endpoint, callback = target.endpoint(respond(503, {"n": 1}), respond(201, {"n": 2})), target.endpoint()
    job_id = await api.submit(endpoint.url, callback.url, **FAST)
    received = await callback.one()
    assert received.method == "POST"
    assert received.header("Content-Type") == "application/json"
    assert received.header("User-Agent") == USER_AGENT
    body = received.json
    times = [body["createdAt"], *(entry["timestamp"] for entry in body["attemptsLog"])]
    assert times == sorted(times)
    assert body["completedAt"] == times[-1]
    for entry in body["attemptsLog"]:
        assert 0 <= entry.pop("durationMs", 0) < 10_000
    expected = {
        "jobId": job_id,
        "status": "completed",
        "attempts": 2,
        "response": {"status": 201, "body": {"n": 2}},
        "error": "",
        "createdAt": "<time>",
        "completedAt": "<time>",
        "attemptsLog": [
            {
                "attempt": 1,
                "statusCode": 503,
                "success": False,
                "timestamp": "<time>",
                "response": {"n": 1},
                "error": "the target answered 503",
                "reason": "http-5xx",
            },
            {"attempt": 2, "statusCode": 201, "success": True, "timestamp": "<time>", "response": {"n": 2}},
        ],
    }
    assert TIME.sub("<time>", json.dumps(body, indent=2)) == json.dumps(expected, indent=2)
    document = await api.typed(job_id)
    assert (document["createdAt"], document["completedAt"]) == (body["createdAt"], body["completedAt"])


async def test_body_of_a_failed_job(api: Api, target: Target) -> None:
    """A failure has its reason; without any response, response is null."""
    first, second = target.endpoint(), target.endpoint()
    await api.submit(target.endpoint(respond(404, {"no": "such"})).url, first.url)
    await api.submit(target.endpoint(CLOSE).url, second.url, **FAST | {"maxRetries": 1})
    answered, broken = (await first.one()).json, (await second.one()).json
    assert (answered["status"], answered["error"]) == ("failed", "the target answered 404")
    assert answered["response"] == {"status": 404, "body": {"no": "such"}}
    assert (broken["status"], broken["attempts"], broken["response"]) == ("failed", 2, None)
    assert broken["error"] == "the server closed the connection without a response (attempt 2 of 2)"
    assert [entry["statusCode"] for entry in broken["attemptsLog"]] == [None, None]


async def test_long_responses_are_carried_once(api: Api, target: Target) -> None:
    """The last response comes whole; of earlier ones 1 KiB is repeated, as text and marked."""
    long = {"text": "x" * 10_000}
    endpoint, callback = target.endpoint(respond(503, long), respond(200, long)), target.endpoint()
    await api.submit(endpoint.url, callback.url, **FAST)
    body = (await callback.one()).json
    assert body["response"] == {"status": 200, "body": long}
    first, last = body["attemptsLog"]
    assert last["response"] == long
    assert first["response"] == json.dumps(long)[:1024]
    assert first["truncated"] is True


async def test_signature_and_identity(api: Api, target: Target, secret: str) -> None:
    """Every delivery is signed afresh; the id and the body are the same in every repeat, and one for each outcome."""
    callback = target.endpoint(respond(500), respond(503), respond(204))
    job_id = await api.submit(target.endpoint().url, callback.url)
    deliveries = await callback.wait(3)
    assert {received.header("webhook-id") for received in deliveries} == {f"{job_id}_1_completed"}
    assert len({received.body for received in deliveries}) == 1
    for received in deliveries:
        assert verify(received, secret)["jobId"] == job_id
        assert abs(int(received.header("webhook-timestamp") or 0) - received.at) < 5
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verify(deliveries[0], "whsec_" + "A" * 32)
    failed = target.endpoint()
    job_id = await api.submit(target.endpoint(respond(404)).url, failed.url)
    assert (await failed.one()).header("webhook-id") == f"{job_id}_1_failed"


@pytest.mark.parametrize(
    "trouble", [respond(500), respond(404), respond(302), CLOSE, RESET], ids=["500", "404", "302", "close", "reset"]
)
async def test_everything_but_2xx_and_410_is_retried(api: Api, target: Target, trouble: Any) -> None:
    callback = target.endpoint(trouble, respond(202))
    job_id = await api.submit(target.endpoint().url, callback.url)
    shown = (await api.wait_for_callback(job_id))["callback"]
    assert (shown["status"], shown["attempts"], shown["lastError"]) == ("delivered", 2, None)
    first, second = callback.requests
    assert second.at - first.at >= 0.1


async def test_retry_after(api: Api, target: Target) -> None:
    """A receiver's Retry-After on 429 and 503 replaces the delay."""

    async def gap(status: int) -> float:
        callback = target.endpoint(respond(status, retry_after="1"), respond())
        await api.submit(target.endpoint().url, callback.url)
        first, second = await callback.wait(2)
        return second.at - first.at

    slow_down, unavailable, error = await asyncio.gather(gap(429), gap(503), gap(500))
    assert 1 <= slow_down < 3
    assert 1 <= unavailable < 3
    assert 0.1 <= error < 1


async def test_progress_is_shown(api: Api, target: Target) -> None:
    """pending while it is tried, with the attempts so far, the last error and the next time; then the outcome."""
    callback = target.endpoint(respond(503, retry_after="2"), respond(delay=0.3))
    job_id = await api.submit(target.endpoint(respond(delay=0.2)).url, callback.url)
    none = {"status": "pending", "attempts": 0, "lastError": None, "nextAttemptAt": None}
    assert (await api.typed(job_id))["callback"] == none
    await callback.one()

    async def tried_once() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await api.typed(job_id))["callback"]
        return shown if shown["attempts"] else None

    shown = await eventually(tried_once, "one attempt to call back")
    assert (shown["status"], shown["attempts"], shown["lastError"]) == ("pending", 1, "the receiver answered 503")
    due = datetime.fromisoformat(shown["nextAttemptAt"]).timestamp()
    assert due - callback.requests[0].at >= 1.99
    assert (await callback.wait(2))[1].at >= due

    done = (await api.wait_for_callback(job_id))["callback"]
    assert done == {"status": "delivered", "attempts": 2, "lastError": None, "nextAttemptAt": None}


async def test_gone_ends_it(api: Api, target: Target, broker: Broker) -> None:
    """410: the receiver wants no more; failed at once and not dead-lettered. The job keeps its own outcome."""
    callback = target.endpoint(respond(410))
    job_id = await api.submit(target.endpoint().url, callback.url)
    document = await api.wait_for_callback(job_id)
    assert document["status"] == "completed"
    shown = document["callback"]
    assert (shown["status"], shown["attempts"], shown["lastError"]) == ("failed", 1, "the receiver answered 410")
    await broker.not_dead(DEAD_CALLBACK_QUEUE, job_id)
    assert len(callback.requests) == 1


async def test_exhausted(api: Api, target: Target, broker: Broker) -> None:
    """After the last delay the callback is dead-lettered with its reason; the job itself is not."""
    callback = target.endpoint(respond(500))
    job_id = await api.submit(target.endpoint().url, callback.url, payload={"a": 1}, method="POST")
    letter = await broker.dead(DEAD_CALLBACK_QUEUE, job_id)
    error = f"the receiver answered 500 ({ATTEMPTS} attempts)"
    assert letter.headers["reason"] == error
    assert letter.json["jobId"] == job_id
    assert letter.json["job"]["callbackUrl"] == callback.url
    assert letter.json["status"] == "completed"
    document = await api.wait_for_callback(job_id)
    assert document["status"] == "completed"
    shown = document["callback"]
    assert (shown["status"], shown["attempts"], shown["lastError"]) == ("failed", ATTEMPTS, error)
    times = [received.at for received in callback.requests]
    assert len(times) == ATTEMPTS
    assert all(second - first >= 0.1 for first, second in itertools.pairwise(times))
    await broker.not_dead(DEAD_EXECUTE_QUEUE, job_id)


async def test_both_dead_letters(api: Api, target: Target, broker: Broker) -> None:
    """A job and its callback may both be spent: one letter in each queue."""
    callback = target.endpoint(CLOSE)
    job_id = await api.submit(target.endpoint(respond(503)).url, callback.url, maxRetries=0)
    await broker.dead(DEAD_EXECUTE_QUEUE, job_id)
    letter = await broker.dead(DEAD_CALLBACK_QUEUE, job_id)
    assert letter.json["status"] == "failed"


@pytest.mark.parametrize("url", ["http://10.0.0.1/callback", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/"])
async def test_refused_addresses(api: Api, target: Target, broker: Broker, url: str) -> None:
    """The guard stands before callbacks too: dead-lettered at once with the reason."""
    job_id = await api.submit(target.endpoint().url, url)
    letter = await broker.dead(DEAD_CALLBACK_QUEUE, job_id)
    assert letter.headers["reason"].startswith("refused by the egress guard: ")
    shown = (await api.wait_for_callback(job_id))["callback"]
    assert (shown["status"], shown["attempts"], shown["lastError"]) == ("failed", 1, letter.headers["reason"])


async def test_a_slow_receiver_delays_nobody(api: Api, target: Target, logs: Logs) -> None:
    """While one receiver hangs, others get their callbacks; answers are read no further than needed."""
    hanging, quick = target.endpoint(HANG, respond()), target.endpoint(respond(200, {"ignored": "x" * 500_000}))
    slow_job = await api.submit(target.endpoint().url, hanging.url)
    await hanging.one()
    started = time.monotonic()
    jobs = [await api.submit(target.endpoint().url, quick.url) for _ in range(10)]
    for document in await asyncio.gather(*map(api.wait_for_callback, jobs)):
        assert document["callback"]["status"] == "delivered"
    assert time.monotonic() - started < 10
    assert (await api.typed(slow_job))["callback"]["status"] == "pending"
    assert not logs.events(event="callback", job_id=slow_job)
    hanging.release()
    await api.wait_for_callback(slow_job, "delivered")
