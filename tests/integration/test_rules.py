"""What a job may ask for beyond its call: when it runs and ends, what success is, how it is called back, priority."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.client import Api
from tests.support.target import Received, Target, respond

from devstack.services import Stack

pytestmark = pytest.mark.stack

FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}}
LATE_MS = 5000
"""A busy machine may be this late; the benchmark says what is usual."""


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


async def submit(api: Api, target: str, **fields: Any) -> str:
    """Like `Api.submit`, with `callback` in its long form."""
    answer = await api.post({"targetUrl": target} | ({} if "callback" in fields else {"callbackUrl": None}) | fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["jobId"])


# When


async def test_delays_are_met(api: Api, target: Target, record_property: Any) -> None:
    """Neither early nor late, whether the delay is a bucket or not, and shown while the job waits."""
    delays = [1, 60, 99, 100, 137, 160, 999, 1000, 1234, 2500, 3333, 4999]
    endpoints = [target.endpoint() for _ in delays]
    jobs = await asyncio.gather(*(submit(api, e.url, delay=d) for e, d in zip(endpoints, delays, strict=True)))
    shown = await api.typed(jobs[-1])
    assert shown["status"] == "scheduled"
    assert ms(shown["nextAttemptAt"]) == ms(shown["createdAt"]) + delays[-1]
    seed = await api.seed(jobs[-1])
    assert (seed["status"], seed["attempts"]) == ("queued", "0")
    lateness = []
    for job_id, endpoint, delay in zip(jobs, endpoints, delays, strict=True):
        called = await endpoint.one()
        due = ms((await api.typed(job_id))["createdAt"]) + delay
        lateness.append(round(called.at * 1000 - due, 1))
    record_property("lateness_ms", lateness)
    assert all(0 <= late < LATE_MS for late in lateness), lateness


async def test_run_at_is_met(api: Api, target: Target, record_property: Any) -> None:
    """An exact time in any offset; the answer says scheduled. A time in the past is now."""
    when = datetime.now(UTC) + timedelta(seconds=2, milliseconds=345)
    endpoint, past = target.endpoint(), target.endpoint()
    local = when.astimezone(datetime.fromisoformat("2020-01-01T00:00:00+05:30").tzinfo)
    answer = await api.post({"targetUrl": endpoint.url, "callbackUrl": None, "runAt": local.isoformat()})
    assert answer.json()["status"] == "scheduled"
    shown = await api.typed(answer.json()["jobId"])
    assert (shown["status"], ms(shown["nextAttemptAt"])) == ("scheduled", int(when.timestamp() * 1000))
    late = (await endpoint.one()).at - when.timestamp()
    record_property("lateness_ms", round(late * 1000, 1))
    assert 0 <= late + 0.001 < LATE_MS / 1000
    answer = await api.post({"targetUrl": past.url, "callbackUrl": None, "runAt": "2001-02-03T04:05:06Z"})
    assert answer.json()["status"] == "queued"
    await past.one()


async def test_far_ahead(api: Api, target: Target) -> None:
    """A year ahead is taken and shown."""
    job_id = await submit(api, target.endpoint().url, delay=365 * 86_400_000)
    shown = await api.typed(job_id)
    assert shown["status"] == "scheduled"
    assert ms(shown["nextAttemptAt"]) - ms(shown["createdAt"]) == 365 * 86_400_000


async def test_expiry_before_the_first_call(api: Api, target: Target, stack: Stack) -> None:
    """Nobody ran it in time: never called, `expired`, and called back so."""
    endpoint, callback = target.endpoint(), target.endpoint()
    stack.executor.terminate()
    try:
        job_id = await submit(api, endpoint.url, ttl=700, callback={"url": callback.url})
        shown = await api.typed(job_id)
        assert ms(shown["expiresAt"]) == ms(shown["createdAt"]) + 700
        await asyncio.sleep(0.8)
    finally:
        stack.executor.start()
    received = await callback.one()
    assert received.header("webhook-id") == f"{job_id}_1_expired"
    body = received.json
    assert (body["status"], body["attempts"], body["response"], body["attemptsLog"]) == ("expired", 0, None, [])
    shown = await api.wait_for_callback(job_id, "delivered")
    assert (shown["status"], shown["reason"], shown["attempts"]) == ("expired", "expired", 0)
    assert shown["error"] == body["error"] == "expired before it could be called"
    assert (await api.seed(job_id))["status"] == "expired"
    assert endpoint.requests == []


async def test_expiry_between_retries(api: Api, target: Target) -> None:
    """The retry would be too late: the job ends at its time, not at the retry's."""
    endpoint, callback = target.endpoint(respond(503)), target.endpoint()
    job_id = await submit(api, endpoint.url, ttl=1500, retryDelay=30_000, callback={"url": callback.url})
    received = await callback.one()
    assert received.json["status"] == "expired"
    assert "the target answered 503" in received.json["error"]
    shown = await api.wait_for_callback(job_id, "delivered")
    assert (shown["status"], shown["reason"], shown["attempts"]) == ("expired", "expired", 1)
    assert 0 <= received.at * 1000 - ms(shown["expiresAt"]) < LATE_MS
    assert len(endpoint.requests) == 1


async def test_an_expiry_that_is_not_reached_changes_nothing(api: Api, target: Target) -> None:
    job_id = await submit(api, target.endpoint(respond(503), respond()).url, ttl=60_000, **FAST)
    assert (await api.wait_for_status(job_id))["status"] == "completed"


# Success


async def test_the_job_says_what_success_is(api: Api, target: Target) -> None:
    """Any status can complete a job, and one that is not listed does not."""
    gone = await submit(api, target.endpoint(respond(404)).url, success={"statuses": [404, "3xx"]})
    moved = await submit(api, target.endpoint(respond(302)).url, success={"statuses": [404, "3xx"]})
    wrong = await submit(api, target.endpoint(respond(200)).url, success={"statuses": [201]})
    busy = await submit(api, target.endpoint(respond(503)).url, success={"statuses": ["5xx"]}, **FAST)
    for job_id, status, reason in (
        (gone, "completed", None),
        (moved, "completed", None),
        (wrong, "failed", "http-other"),
        (busy, "completed", None),
    ):
        shown = await api.wait_for_status(job_id)
        assert (shown["status"], shown["reason"], shown["attempts"]) == (status, reason, 1)


@pytest.mark.parametrize("value", ["no", " No "])
async def test_a_target_can_refuse_retries(api: Api, target: Target, value: str) -> None:
    """`Carom-Retry: no` ends it whatever the status, and is no dead letter; any other value means nothing."""
    refused = await submit(api, target.endpoint(respond(503, carom_retry=value)).url, **FAST)
    shown = await api.wait_for_status(refused)
    assert (shown["status"], shown["reason"], shown["attempts"]) == ("failed", "retry-refused", 1)
    other = await submit(api, target.endpoint(respond(503, carom_retry="later"), respond()).url, **FAST)
    assert (await api.wait_for_status(other))["attempts"] == 2


# Callback


async def test_the_long_form_of_callback(api: Api, target: Target) -> None:
    """Method and headers are the job's; what Carom signs stays Carom's."""
    callback = target.endpoint()
    headers = {"Authorization": "Bearer mine", "User-Agent": "me", "X-Own": "1"}
    job_id = await submit(
        api, target.endpoint().url, callback={"url": callback.url, "method": "PUT", "headers": headers}
    )
    received = await callback.one()
    assert received.method == "PUT"
    assert {name: received.header(name) for name in headers} == headers
    assert received.header("Content-Type") == "application/json"
    assert received.header("webhook-id") == f"{job_id}_1_completed"
    assert received.header("webhook-signature")
    shown = await api.typed(job_id)
    assert shown["callbackUrl"] == callback.url


async def test_only_the_events_asked_for(api: Api, target: Target) -> None:
    """A job that completes tells nobody who asked for failures only."""
    quiet, told = target.endpoint(), target.endpoint()
    events = ["failed", "expired"]
    completed = await submit(api, target.endpoint().url, callback={"url": quiet.url, "events": events})
    failed = await submit(api, target.endpoint(respond(404)).url, callback={"url": told.url, "events": events})
    assert (await told.one()).json["jobId"] == failed
    shown = await api.wait_for_status(completed, "completed")
    assert shown["callback"]["status"] == "none"
    await asyncio.sleep(0.3)
    assert quiet.requests == []


def by_id(received: list[Received]) -> dict[str, Any]:
    return {str(one.header("webhook-id")): one.json for one in received}


async def test_attempt_events(api: Api, target: Target) -> None:
    """Each attempt is told under an id of its own, beside the final result."""
    callback = target.endpoint()
    endpoint = target.endpoint(respond(503), respond(500), respond(200))
    asked = {"url": callback.url, "events": ["attempt", "completed"]}
    job_id = await submit(api, endpoint.url, callback=asked, **FAST)
    told = by_id(await callback.wait(4))
    assert set(told) == {f"{job_id}_1_attempt_{n}" for n in (1, 2, 3)} | {f"{job_id}_1_completed"}
    first, last = told[f"{job_id}_1_attempt_1"], told[f"{job_id}_1_attempt_3"]
    assert (first["status"], first["attempts"], first["response"]["status"]) == ("waiting", 1, 503)
    assert (last["status"], last["attempts"], last["response"]["status"]) == ("completed", 3, 200)
    await api.wait_for_callback(job_id, "delivered")
    assert len(callback.requests) == 4


async def test_a_callback_has_retries_of_its_own(api: Api, target: Target) -> None:
    """`callback.retry` and `callback.timeout` win over what is configured."""
    slow = target.endpoint(respond(delay=2), respond())
    retry = {"maxRetries": 1, "retryDelay": 700, "strategy": "fixed"}
    timed = await submit(api, target.endpoint().url, callback={"url": slow.url, "timeout": 200, "retry": retry})
    spent = target.endpoint(respond(500))
    failed = await submit(api, target.endpoint().url, callback={"url": spent.url, "retry": retry})
    shown = (await api.wait_for_callback(timed))["callback"]
    assert (shown["status"], shown["attempts"]) == ("delivered", 2)
    shown = (await api.wait_for_callback(failed))["callback"]
    assert (shown["status"], shown["attempts"]) == ("failed", 2)
    first, second = spent.requests
    assert second.at - first.at >= 0.7


# Priority


async def test_high_jumps_a_backlog_of_normal(api: Api, target: Target, stack: Stack) -> None:
    """Jobs of high priority that came last are called long before the backlog is done; low ones are not forgotten."""
    endpoint = target.endpoint()
    stack.executor.terminate()
    try:
        for priority, count in (("low", 10), ("normal", 2000), ("high", 20)):
            jobs = [{"targetUrl": endpoint.url, "callbackUrl": None, "priority": priority, "method": "POST"}] * count
            for start in range(0, count, 1000):
                body = json.dumps({"jobs": [job | {"payload": priority} for job in jobs[start : start + 1000]]})
                answer = await api.http.post(
                    "/api/jobs/batch", content=body, headers={"Content-Type": "application/json"}
                )
                assert answer.status_code == 207
    finally:
        stack.executor.start()
    called = [received.json for received in await endpoint.wait(2030, within=60)]
    last_high = max(index for index, priority in enumerate(called) if priority == "high")
    assert called.count("high") == 20
    assert called.count("low") == 10
    assert last_high < 1000, "the last of high priority"
