"""Cancel and retry, through two replicas of intake and of the executor."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from tests.integration.conftest import Servers
from tests.integration.test_submit import check_problem
from tests.support.broker import Broker
from tests.support.client import Api, connected
from tests.support.target import HANG, Target, respond
from tests.support.waiting import eventually

from carom_common.contracts.job import Job
from carom_common.contracts.message import VERSION, ExecuteMessage, encode
from carom_common.domain.clock import now_ms
from carom_common.topology import execute_key
from devstack.services import Stack

pytestmark = pytest.mark.stack

SLOW: dict[str, Any] = {"maxRetries": 3, "retryDelay": 30_000, "retry": {"strategy": "fixed"}}
FAST: dict[str, Any] = {"maxRetries": 1, "retryDelay": 100, "retry": {"strategy": "fixed"}}
STOPPED_WITHIN = 12.0
"""A renewal of the lease tells; the first one of a call comes within 6 s."""


@pytest.fixture
async def redis_client(servers: Servers) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(servers.redis.url)
    yield client
    await client.aclose()


@pytest.fixture(scope="module")
async def second(stack: Stack) -> AsyncIterator[Api]:
    """Another replica of intake, beside a second executor."""
    more = [stack.add("intake"), stack.add("executor")]
    for service in more:
        service.start()
        await connected(service)
    client = Api(more[0].url)
    yield client
    await client.aclose()
    for service in more:
        service.terminate()
        stack.services.remove(service)


async def cancel(api: Api, job_id: str) -> dict[str, Any]:
    answer = await api.http.delete(f"/api/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert document["status"] == "cancelled"
    assert document["reason"] == "cancelled"
    assert document["completedAt"]
    return document


async def retry(api: Api, job_id: str) -> dict[str, Any]:
    answer = await api.http.post(f"/api/jobs/{job_id}/retry")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/jobs/{job_id}"
    return dict(answer.json())


async def ids(api: Api, query: str, name: str = "jobs") -> list[str]:
    return [job["jobId"] for job in (await api.http.get(f"/api/{query}")).json()[name]]


# Cancel


async def test_a_scheduled_job_never_starts(api: Api, second: Api, target: Target) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint()
    job_id = await api.submit(endpoint.url, receiver.url, delay=1500)
    assert job_id in await ids(second, "jobs?status=scheduled")
    document = await cancel(second, job_id)
    assert document["callback"]["status"] == "pending"
    callback = await receiver.one()
    assert callback.json["status"] == "cancelled"
    assert callback.json["attempts"] == 0
    assert callback.header("webhook-id") == f"{job_id}_1_cancelled"
    await api.wait_for_callback(job_id, "delivered")
    await asyncio.sleep(2)
    assert not endpoint.requests
    assert (await api.typed(job_id))["status"] == "cancelled"
    assert job_id in await ids(api, "jobs?status=cancelled&reason=cancelled")
    assert job_id not in await ids(api, "jobs?status=scheduled,queued,waiting,in_progress")
    assert len(receiver.requests) == 1


async def test_the_tombstone_outlives_a_copy_a_year_ahead(api: Api, target: Target, redis_client: Any) -> None:
    year = 360 * 86_400_000
    job_id = await api.submit(target.endpoint().url, delay=year)
    await cancel(api, job_id)
    kept = await redis_client.pttl(f"carom:{{{job_id}}}:state")
    log_kept = await redis_client.pttl(f"carom:{{{job_id}}}:log")
    assert kept > year + 3_600_000 > log_kept


async def test_run_now_leaves_a_tombstone_for_the_copy_ahead(
    api: Api, target: Target, redis_client: Any, broker: Broker
) -> None:
    """The old copy arrives when the job is long done, and is dropped."""
    year, endpoint = 360 * 86_400_000, target.endpoint()
    job_id = await api.submit(endpoint.url, delay=year)
    record = await api.typed(job_id)
    assert (await retry(api, job_id))["generation"] == 2
    await api.wait_for_status(job_id, "completed")
    assert await redis_client.pttl(f"carom:{{{job_id}}}:state") > year + 3_600_000
    await redis_client.delete(f"carom:{{{job_id}}}:log")  # as its expiry will
    assert (await api.http.get(f"/api/jobs/{job_id}")).status_code == 404
    check_problem(await api.http.delete(f"/api/jobs/{job_id}"), 404)
    check_problem(await api.http.post(f"/api/jobs/{job_id}/retry"), 404)
    old = ExecuteMessage(VERSION, "default", job_id, Job(endpoint.url, None), now_ms() - 1000, eta=now_ms() - 1)
    await broker.publish(execute_key(), encode(old))
    await asyncio.sleep(1)
    assert len(endpoint.requests) == 1
    assert record["status"] == "scheduled"


async def test_a_waiting_job_is_cancelled_with_its_history(api: Api, second: Api, target: Target) -> None:
    endpoint, receiver = target.endpoint(respond(503, {"x": 1})), target.endpoint()
    job_id = await api.submit(endpoint.url, receiver.url, **SLOW)
    await api.wait_for_status(job_id, "waiting")
    document = await cancel(second, job_id)
    assert document["attempts"] == 1
    assert document["nextAttemptAt"] is None
    body = (await receiver.one()).json
    assert (body["status"], body["attempts"], body["response"]["status"]) == ("cancelled", 1, 503)
    assert body["attemptsLog"][0]["statusCode"] == 503


async def test_a_running_call_is_stopped(api: Api, second: Api, target: Target) -> None:
    endpoint, receiver = target.endpoint(HANG), target.endpoint()
    job_id = await api.submit(endpoint.url, receiver.url, timeout=120_000)
    await endpoint.one()
    await api.wait_for_status(job_id, "in_progress")
    await cancel(second, job_id)
    await eventually(lambda: endpoint.gone_away, "the call is given up", STOPPED_WITHIN)
    assert (await receiver.one()).json["status"] == "cancelled"
    await asyncio.sleep(1)
    document = await api.typed(job_id)
    assert (document["status"], document["attempts"]) == ("cancelled", 0)
    assert len(endpoint.requests) == 1
    assert len(receiver.requests) == 1


async def test_an_outcome_that_comes_after_the_cancel_does_not_count(api: Api, target: Target) -> None:
    endpoint, receiver = target.endpoint(respond(200, delay=1.0)), target.endpoint()
    job_id = await api.submit(endpoint.url, receiver.url)
    await endpoint.one()
    await cancel(api, job_id)
    await asyncio.sleep(2)
    document = await api.typed(job_id)
    assert (document["status"], document["attempts"]) == ("cancelled", 0)
    assert [request.json["status"] for request in receiver.requests] == ["cancelled"]


async def test_who_wants_no_cancelled_event_gets_none(api: Api, target: Target) -> None:
    receiver = target.endpoint()
    callback = {"url": receiver.url, "events": ["completed"]}
    body = {"targetUrl": target.endpoint().url, "callback": callback, "delay": 60_000}
    job_id = (await api.post(body)).json()["jobId"]
    assert (await cancel(api, job_id))["callback"]["status"] == "none"
    await asyncio.sleep(0.5)
    assert not receiver.requests


async def test_what_cannot_be_cancelled(api: Api, target: Target) -> None:
    job_id = await api.submit(target.endpoint().url)
    await api.wait_for_status(job_id, "completed")
    problem = check_problem(await api.http.delete(f"/api/jobs/{job_id}"), 409)
    assert "completed" in problem["detail"]
    assert problem["reason"] == "job-completed"
    for name in (str(uuid.uuid4()), "nonsense"):
        check_problem(await api.http.delete(f"/api/jobs/{name}"), 404)
    check_problem(await api.http.delete(f"/api/jobs/{job_id}?force=1"), 400)


async def test_cancelled_at_once_by_many_is_cancelled_once(api: Api, second: Api, target: Target) -> None:
    receiver = target.endpoint()
    job_id = await api.submit(target.endpoint().url, receiver.url, delay=60_000)
    answers = await asyncio.gather(*((api, second)[n % 2].http.delete(f"/api/jobs/{job_id}") for n in range(20)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert 200 in {answer.status_code for answer in answers}
    await api.wait_for_callback(job_id, "delivered")
    await asyncio.sleep(1)
    assert len(receiver.requests) == 1


# Retry


async def test_a_waiting_job_runs_now_and_once(api: Api, second: Api, target: Target, broker: Broker) -> None:
    endpoint, receiver = target.endpoint(respond(503), respond(200)), target.endpoint()
    job_id = await api.submit(endpoint.url, receiver.url, **SLOW)
    before = await api.wait_for_status(job_id, "waiting")
    given = await retry(second, job_id)
    assert (given["generation"], given["attempts"], given["status"]) == (2, 1, "queued")
    document = await api.wait_for_status(job_id)
    assert (document["status"], document["attempts"], document["generation"]) == ("completed", 2, 2)
    assert [entry["attempt"] for entry in document["attemptsLog"]] == [1, 2]
    # The copy that waits in the broker comes back.
    job = Job(endpoint.url, receiver.url, max_retries=3)
    old = ExecuteMessage(VERSION, "default", job_id, job, now_ms(), attempt=2, eta=now_ms() - 1)
    await broker.publish(execute_key(), encode(old))
    await asyncio.sleep(1)
    assert len(endpoint.requests) == 2
    assert (await receiver.one()).header("webhook-id") == f"{job_id}_2_completed"
    assert len(receiver.requests) == 1
    assert before["nextAttemptAt"]


async def test_a_scheduled_job_runs_now(api: Api, target: Target) -> None:
    endpoint = target.endpoint()
    job_id = await api.submit(endpoint.url, delay=60_000)
    await retry(api, job_id)
    document = await api.wait_for_status(job_id)
    assert (document["status"], document["attempts"]) == ("completed", 1)


async def test_a_waiting_job_keeps_what_is_left_of_its_retries(api: Api, target: Target) -> None:
    endpoint = target.endpoint(respond(503))
    job_id = await api.submit(endpoint.url, **SLOW | {"maxRetries": 1})
    await api.wait_for_status(job_id, "waiting")
    await retry(api, job_id)
    document = await api.wait_for_status(job_id)
    assert (document["status"], document["attempts"]) == ("failed", 2)


async def test_a_dead_job_runs_again_with_all_its_retries(api: Api, second: Api, target: Target) -> None:
    endpoint, receiver = target.endpoint(*[respond(503)] * 3, respond(200)), target.endpoint()
    job_id = await api.submit(endpoint.url, receiver.url, **FAST)
    await api.wait_for_callback(job_id, "delivered")
    assert (await receiver.one()).header("webhook-id") == f"{job_id}_1_failed"
    given = await retry(second, job_id)
    assert (given["generation"], given["attempts"]) == (2, 2)
    document = await api.wait_for_status(job_id, "completed")
    assert (document["attempts"], document["generation"]) == (4, 2)
    assert document["reason"] is None
    last = (await receiver.wait(2))[1]
    assert last.header("webhook-id") == f"{job_id}_2_completed"
    assert (last.json["attempts"], len(last.json["attemptsLog"])) == (4, 4)
    assert job_id not in await ids(api, "dead-letters?kind=execute", "deadLetters")
    assert job_id not in await ids(api, "jobs?status=failed")
    assert len(endpoint.requests) == 4


async def test_a_cancelled_and_an_expired_job_run_again(api: Api, target: Target) -> None:
    endpoint = target.endpoint()
    cancelled = await api.submit(endpoint.url, delay=60_000)
    await cancel(api, cancelled)
    refused = target.endpoint(respond(503), respond(200))
    expired = await api.submit(refused.url, ttl=1000, **SLOW)
    await api.wait_for_status(expired, "expired")
    for job_id in (cancelled, expired):
        await retry(api, job_id)
        document = await api.wait_for_status(job_id, "completed")
        assert document["expiresAt"] is None


async def test_what_cannot_be_retried(api: Api, target: Target) -> None:
    running = target.endpoint(HANG)
    job_id = await api.submit(running.url)
    await running.one()
    await api.wait_for_status(job_id, "in_progress")
    assert check_problem(await api.http.post(f"/api/jobs/{job_id}/retry"), 409)["reason"] == "job-in-progress"
    running.release()
    done = await api.submit(target.endpoint().url)
    await api.wait_for_status(done, "completed")
    assert check_problem(await api.http.post(f"/api/jobs/{done}/retry"), 409)["reason"] == "job-completed"
    check_problem(await api.http.post(f"/api/jobs/{uuid.uuid4()}/retry"), 404)


async def test_run_again_no_more_than_a_hundred_times(api: Api, target: Target, redis_client: Any) -> None:
    job_id = await api.submit(target.endpoint(respond(404)).url)
    await api.wait_for_status(job_id, "failed")
    await redis_client.hset(f"carom:{{{job_id}}}:state", "generation", 100)
    assert check_problem(await api.http.post(f"/api/jobs/{job_id}/retry"), 409)["reason"] == "too-many-generations"


async def test_retried_by_many_at_once_runs_once(api: Api, second: Api, target: Target) -> None:
    endpoint = target.endpoint(respond(503), respond(200, delay=0.5))
    job_id = await api.submit(endpoint.url, **SLOW)
    await api.wait_for_status(job_id, "waiting")
    answers = await asyncio.gather(*((api, second)[n % 2].http.post(f"/api/jobs/{job_id}/retry") for n in range(20)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.json()["generation"] for answer in answers if answer.status_code == 202} == {2}
    await api.wait_for_status(job_id, "completed")
    await asyncio.sleep(1)
    assert len(endpoint.requests) == 2
