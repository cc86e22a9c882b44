"""Dead letters: looked at, redriven one by one and in bulk, and let go; and cancelling in bulk. Two replicas."""

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
from tests.integration.conftest import ENV, Servers
from tests.integration.test_acts import second
from tests.integration.test_auth import text_of
from tests.integration.test_running import read_metrics
from tests.integration.test_submit import check_problem
from tests.support.broker import Broker
from tests.support.client import Api, connected
from tests.support.target import Endpoint, Target, respond
from tests.support.waiting import eventually

from carom_common.contracts.job import Job
from carom_common.contracts.message import VERSION, CallbackMessage, encode
from carom_common.domain.clock import now_ms
from carom_common.topology import CALLBACK_KEY
from carom_intake.domain.keys import Scope, new_key
from devstack.services import Service, Stack

pytestmark = pytest.mark.stack

__all__ = ["second"]

FAST: dict[str, Any] = {"maxRetries": 1, "retryDelay": 100, "retry": {"strategy": "fixed"}}


@pytest.fixture
def batch() -> str:
    """The value of a label that only this test's jobs have."""
    return f"b{uuid.uuid4().hex[:12]}"


async def dead_jobs(api: Api, batch: str, count: int, endpoint: Endpoint, **fields: Any) -> list[str]:
    submits = (api.submit(endpoint.url, labels={"batch": batch}, **FAST, **fields) for _ in range(count))
    made = await asyncio.gather(*submits)
    await asyncio.gather(*(api.wait_for_status(job_id, "failed") for job_id in made))
    await eventually(lambda: has(api, f"label=batch={batch}", len(made)), "all are dead letters")
    return list(made)


async def has(api: Api, query: str, count: int) -> bool:
    return len(await letters(api, query)) == count


async def letters(api: Api, query: str) -> list[str]:
    answer = await api.http.get(f"/api/dead-letters?{query}")
    assert answer.status_code == 200, answer.text
    return [job["jobId"] for job in answer.json()["deadLetters"]]


async def post(api: Api, path: str, body: Any) -> httpx.Response:
    return await api.http.post(f"/api/{path}", json=body)


async def handle_of(api: Api, location: str, *statuses: str, within: float = 30) -> dict[str, Any]:
    async def reached() -> dict[str, Any] | None:
        document: dict[str, Any] = (await api.http.get(location)).json()
        return document if document["status"] in statuses else None

    return await eventually(reached, f"{location} {' or '.join(statuses)}", within, 0.05)


# One by one


async def test_a_dead_job_is_shown_and_redriven(api: Api, second: Api, target: Target, batch: str) -> None:
    endpoint = target.endpoint(respond(503), respond(503), respond(200))
    (job_id,) = await dead_jobs(api, batch, 1, endpoint)
    assert await letters(second, f"kind=execute&label=batch={batch}&reason=http-5xx") == [job_id]
    assert await letters(second, f"kind=callback&label=batch={batch}") == []
    shown = (await api.http.get(f"/api/dead-letters/{job_id}")).json()
    assert shown["kinds"] == ["execute"]
    assert shown["job"]["attempts"] == 2
    answer = await second.http.post(f"/api/dead-letters/{job_id}/redrive")
    assert (answer.status_code, answer.json()["generation"]) == (202, 2)
    document = await api.wait_for_status(job_id, "completed")
    assert document["attempts"] == 3
    assert await letters(api, f"label=batch={batch}") == []
    check_problem(await api.http.get(f"/api/dead-letters/{job_id}"), 404)
    check_problem(await api.http.post(f"/api/dead-letters/{job_id}/redrive"), 404)


async def test_a_redriven_job_may_die_again(api: Api, target: Target, batch: str) -> None:
    endpoint = target.endpoint(respond(503))
    (job_id,) = await dead_jobs(api, batch, 1, endpoint)
    await api.http.post(f"/api/dead-letters/{job_id}/redrive")
    await endpoint.wait(4)
    document = await api.wait_for_status(job_id, "failed")
    assert (document["attempts"], document["generation"]) == (4, 2)
    await eventually(lambda: has(api, f"label=batch={batch}", 1), "it is a dead letter again")


async def test_a_dead_callback_is_redriven_under_the_same_webhook_id(
    api: Api, second: Api, target: Target, batch: str
) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint(*[respond(500)] * 4, respond(204))
    job_id = await api.submit(endpoint.url, receiver.url, labels={"batch": batch})
    await api.wait_for_callback(job_id, "failed")
    assert await letters(second, f"kind=callback&label=batch={batch}") == [job_id]
    assert (await api.http.get(f"/api/dead-letters/{job_id}")).json()["kinds"] == ["callback"]
    assert (await second.http.post(f"/api/dead-letters/{job_id}/redrive")).status_code == 202
    document = await api.wait_for_callback(job_id, "delivered")
    assert (document["status"], document["attempts"], document["generation"]) == ("completed", 1, 1)
    assert document["callback"] == {"status": "delivered", "attempts": 1, "lastError": None, "nextAttemptAt": None}
    requests = await receiver.wait(5)
    assert {request.header("webhook-id") for request in requests} == {f"{job_id}_1_completed"}
    assert len({request.body for request in requests}) == 1
    assert len(endpoint.requests) == 1
    assert await letters(api, f"kind=callback&label=batch={batch}") == []


async def test_a_result_counts_once_whatever_news_and_redrives_there_are(
    stack: Stack, api: Api, target: Target, batch: str
) -> None:
    """Two attempts fail, and both are news; the callback of the result is given up, and again when it is redriven."""
    endpoint, receiver = target.endpoint(respond(500)), target.endpoint(*[respond(500)] * 4, respond())
    callback = {"url": receiver.url, "events": ["attempt", "failed"], "retry": {"maxRetries": 0}}
    job = {"targetUrl": endpoint.url, "callback": callback, "labels": {"batch": batch}, **FAST}
    async with httpx.AsyncClient(timeout=20) as admin:
        before = await read_metrics(admin, *stack.services)
        job_id = (await api.post(job)).json()["jobId"]
        for told in (3, 4):
            await receiver.wait(told)
            await api.wait_for_callback(job_id, "failed")
            redriven = await api.http.post(f"/api/dead-letters/{job_id}/redrive?kind=callback")
            assert redriven.status_code == 202, redriven.text
        await api.wait_for_callback(job_id, "delivered")
        (silent,) = await dead_jobs(api, batch + "s", 1, target.endpoint(respond(500)))
        assert (await api.http.post(f"/api/dead-letters/{silent}/redrive")).status_code == 202
        after = await read_metrics(admin, *stack.services)
    assert len(receiver.requests) == 5
    moved = {
        (name, labels): after[name, labels] - before[name, labels]
        for name, labels in after
        if name.startswith(("carom_callbacks", "carom_callback_delivery_seconds_count", "carom_acts"))
    }
    assert {key: number for key, number in moved.items() if number} == {
        ("carom_callbacks_total", ("exhausted",)): 4,
        ("carom_callbacks_total", ("delivered",)): 1,
        ("carom_callbacks_given_up_total", ()): 1,
        ("carom_acts_total", ("redrive-callback",)): 2,
        ("carom_acts_total", ("redrive-execute",)): 1,
    }


async def test_a_redriven_callback_whose_record_lost_it_is_delivered(
    api: Api, target: Target, broker: Broker, batch: str
) -> None:
    """A message ahead of its record wins: the attempts of the callback are counted anew."""
    endpoint, receiver = target.endpoint(), target.endpoint(*[respond(500)] * 5, respond(204))
    job_id = await api.submit(endpoint.url, receiver.url, labels={"batch": batch})
    await api.wait_for_callback(job_id, "failed")
    job = Job(endpoint.url, receiver.url)
    ahead = CallbackMessage(VERSION, "default", job_id, job, now_ms(), "completed", now_ms(), callback_generation=2)
    await broker.publish(CALLBACK_KEY, encode(ahead))
    document = await api.wait_for_callback(job_id, "delivered")
    assert document["callback"]["attempts"] == 2
    await asyncio.sleep(0.5)
    assert len(receiver.requests) == 6


async def test_dead_both_ways(api: Api, target: Target, batch: str) -> None:
    endpoint, receiver = target.endpoint(respond(503)), target.endpoint(respond(500))
    (job_id,) = await dead_jobs(api, batch, 1, endpoint, callback=receiver.url)
    await api.wait_for_callback(job_id, "failed")
    path = f"/api/dead-letters/{job_id}"
    assert (await api.http.get(path)).json()["kinds"] == ["execute", "callback"]
    for answer in (await api.http.post(f"{path}/redrive"), await api.http.delete(path)):
        assert check_problem(answer, 409)["reason"] == "kind"
    check_problem(await api.http.post(f"{path}/redrive?kind=both"), 400)
    forgotten = await api.http.delete(f"{path}?kind=callback")
    assert forgotten.status_code == 200
    assert (await api.http.get(path)).json()["kinds"] == ["execute"]
    check_problem(await api.http.post(f"{path}/redrive?kind=callback"), 404)
    assert (await api.http.delete(path)).json()["status"] == "failed"
    check_problem(await api.http.get(path), 404)
    check_problem(await api.http.delete(path), 404)
    assert (await api.typed(job_id))["status"] == "failed"
    assert await letters(api, f"label=batch={batch}") == []


# By filter


async def test_a_dry_run_counts_and_does_nothing(api: Api, target: Target, batch: str) -> None:
    endpoint = target.endpoint(respond(503))
    made = await dead_jobs(api, batch, 12, endpoint)
    answer = await post(api, "dead-letters/redrive", {"labels": {"batch": batch}, "dryRun": True})
    assert answer.status_code == 200
    document = answer.json()
    assert (document["dryRun"], document["count"], document["exact"]) == (True, 12, True)
    assert len(document["sample"]) == 10
    assert {job["jobId"] for job in document["sample"]} < set(made)
    assert len(endpoint.requests) == 24
    assert await has(api, f"label=batch={batch}", 12)


async def test_redrive_by_filter(api: Api, second: Api, target: Target, batch: str) -> None:
    endpoint = target.endpoint(*[respond(503)] * 60, respond(200))
    made = await dead_jobs(api, batch, 30, endpoint)
    started = time.monotonic()
    answer = await post(api, "dead-letters/redrive", {"labels": {"batch": batch}, "kind": "execute", "rate": 10})
    assert answer.status_code == 202
    given = answer.json()
    assert answer.headers["location"] == f"/api/redrives/{given['id']}"
    assert (given["status"], given["rate"], given["kind"]) == ("running", 10, "execute")
    document = await handle_of(second, answer.headers["location"], "done")
    assert time.monotonic() - started > 2.5  # thirty at ten a second
    assert (document["matched"], document["redriven"], document["skipped"]) == (30, 30, 0)
    assert document["endedAt"]
    for job_id in made:
        assert (await api.wait_for_status(job_id, "completed"))["generation"] == 2
    assert len(endpoint.requests) == 90
    assert await has(api, f"label=batch={batch}", 0)
    listed = (await api.http.get("/api/redrives")).json()["redrives"]
    assert given["id"] in [campaign["id"] for campaign in listed]
    check_problem(await api.http.get(f"/api/cancellations/{given['id']}"), 404)
    assert check_problem(await api.http.delete(answer.headers["location"]), 409)["reason"] == "already-done"


async def test_a_redrive_is_stopped(api: Api, second: Api, target: Target, batch: str) -> None:
    endpoint = target.endpoint(*[respond(503)] * 40, respond(200))
    await dead_jobs(api, batch, 20, endpoint)
    answer = await post(api, "dead-letters/redrive", {"labels": {"batch": batch}, "rate": 2})
    location = answer.headers["location"]

    async def begun() -> bool:
        return bool((await api.http.get(location)).json()["redriven"])

    await eventually(begun, "some are redriven")
    stopped = await second.http.delete(location)
    assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
    await asyncio.sleep(2)
    document = (await api.http.get(location)).json()
    assert 1 <= document["redriven"] <= 12
    assert len(await letters(api, f"label=batch={batch}")) == 20 - document["redriven"]
    assert (await second.http.delete(location)).json()["status"] == "stopped"


async def test_a_redrive_of_callbacks(api: Api, target: Target, batch: str) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint(*[respond(500)] * 12, respond(204))
    made = [await api.submit(endpoint.url, receiver.url, labels={"batch": batch}) for _ in range(3)]
    for job_id in made:
        await api.wait_for_callback(job_id, "failed")
    answer = await post(api, "dead-letters/redrive", {"labels": {"batch": batch}, "kind": "callback"})
    assert (await handle_of(api, answer.headers["location"], "done"))["redriven"] == 3
    for job_id in made:
        await api.wait_for_callback(job_id, "delivered")


async def test_a_redrive_goes_on_when_its_replica_is_killed(
    api: Api, second: Api, stack: Stack, target: Target, batch: str, servers: Servers
) -> None:
    """Whichever replica leads is killed; another takes over, and every job is redriven once."""
    endpoint = target.endpoint(*[respond(503)] * 80, respond(200))
    made = await dead_jobs(api, batch, 40, endpoint)
    store = redis.asyncio.Redis.from_url(servers.redis.url)
    doomed = stack.add("intake")
    doomed.start()
    await connected(doomed)
    others = [service for service in stack.of("intake") if service is not doomed]
    for service in others:  # the lease goes to the only one that goes on
        service.freeze()
    try:
        leader = await store.get("carom:duty:campaigns")

        async def leads() -> bool:
            return await store.get("carom:duty:campaigns") not in (None, leader)

        await eventually(leads, "the new replica leads", 20)
        client = Api(doomed.url)
        answer = await post(client, "dead-letters/redrive", {"labels": {"batch": batch}, "rate": 5})
        location = answer.headers["location"]

        async def begun() -> bool:
            return bool((await client.http.get(location)).json()["redriven"])

        await eventually(begun, "some are redriven")
        await client.aclose()
    finally:
        doomed.kill()
        stack.services.remove(doomed)
        for service in others:
            service.resume()
        await store.aclose()
    document = await handle_of(second, location, "done", within=60)
    assert 30 <= document["redriven"] <= 40  # what was counted last may be lost with who counted
    for job_id in made:
        assert (await api.wait_for_status(job_id, "completed"))["generation"] == 2
    assert len(endpoint.requests) == 120


async def test_cancel_by_filter(api: Api, second: Api, target: Target, batch: str) -> None:
    receiver = target.endpoint()
    fields: dict[str, Any] = {"labels": {"batch": batch}, "delay": 60_000}
    made = await asyncio.gather(*(api.submit(target.endpoint().url, receiver.url, **fields) for _ in range(25)))
    done = await api.submit(target.endpoint().url, labels={"batch": batch})
    await api.wait_for_status(done, "completed")
    body = {"labels": {"batch": batch}}
    dry = (await post(api, "jobs/cancel", body | {"dryRun": True})).json()
    assert dry["count"] == 25
    answer = await post(second, "jobs/cancel", body | {"rate": 1000})
    assert answer.status_code == 202
    assert answer.headers["location"].startswith("/api/cancellations/")
    document = await handle_of(api, answer.headers["location"], "done")
    assert (document["matched"], document["cancelled"]) == (25, 25)
    for job_id in made:
        await api.wait_for_callback(job_id, "delivered")
        assert (await api.typed(job_id))["status"] == "cancelled"
    assert (await api.typed(done))["status"] == "completed"
    assert len(receiver.requests) == 25


BAD: list[tuple[str, Any, str]] = [
    ("dead-letters/redrive", {}, ""),
    ("dead-letters/redrive", {"kind": "execute", "rate": 5, "dryRun": False}, ""),
    ("dead-letters/redrive", {"kind": "both", "reason": "timeout"}, "/kind"),
    ("dead-letters/redrive", {"reason": "timeout", "rate": 0}, "/rate"),
    ("dead-letters/redrive", {"reason": "timeout", "rate": 1001}, "/rate"),
    ("dead-letters/redrive", {"reason": "timeout", "rate": True}, "/rate"),
    ("dead-letters/redrive", {"reason": "timeout", "dryRun": "yes"}, "/dryRun"),
    ("dead-letters/redrive", {"reason": "no-such"}, "/reason"),
    ("dead-letters/redrive", {"nonsense": 1}, "/nonsense"),
    ("dead-letters/redrive", [], ""),
    ("jobs/cancel", {}, ""),
    ("jobs/cancel", {"kind": "execute", "host": "a.example"}, "/kind"),
    ("jobs/cancel", {"status": "completed"}, "/status"),
]


@pytest.mark.parametrize(("path", "body", "pointer"), BAD, ids=lambda value: json.dumps(value))
async def test_what_no_bulk_act_takes(api: Api, path: str, body: Any, pointer: str) -> None:
    problem = check_problem(await post(api, path, body), 400)
    assert pointer in [error["pointer"] for error in problem["errors"]]


async def test_what_dead_letters_do_not_take(api: Api) -> None:
    check_problem(await api.http.get("/api/dead-letters?kind=other"), 400)
    check_problem(await api.http.get("/api/dead-letters?nonsense=1"), 400)
    check_problem(await api.http.get("/api/redrives?limit=1"), 400)
    check_problem(
        await api.http.post("/api/jobs/cancel", content=b"{", headers={"Content-Type": "application/json"}), 400
    )
    for path in ("redrives", "cancellations", "dead-letters"):
        check_problem(await api.http.get(f"/api/{path}/{uuid.uuid4()}"), 404)
        check_problem(await api.http.delete(f"/api/{path}/nonsense"), 404)


# Who may


async def test_tenants_and_scopes(stack: Stack, servers: Servers, target: Target, tmp_path: Path, batch: str) -> None:
    ours = new_key("ours", "ours", [Scope.ADMIN])
    theirs = new_key("theirs", "theirs", [Scope.ADMIN])
    writer = new_key("writer", "ours", [Scope.JOBS_WRITE, Scope.JOBS_READ])
    file = tmp_path / "keys.json"
    file.write_text(text_of(ours, theirs, writer))
    env = ENV | {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}
    service = Service("intake", env | {"CAROM_AUTH": "keys", "CAROM_KEYS_FILE": str(file)}, log=tmp_path / "keyed.log")
    service.start()
    await connected(service)
    apis = {name: Api(service.url) for name in ("ours", "theirs", "writer")}
    for key, name in ((ours, "ours"), (theirs, "theirs"), (writer, "writer")):
        apis[name].http.headers["Authorization"] = f"Bearer {key.token}"
    try:
        api, other, only_writes = apis.values()
        (dead,) = await dead_jobs(api, batch, 1, target.endpoint(respond(503)))
        waiting = await api.submit(target.endpoint().url, delay=60_000, labels={"batch": batch})
        for method, path in (
            ("DELETE", f"jobs/{waiting}"),
            ("POST", f"jobs/{waiting}/retry"),
            ("GET", f"dead-letters/{dead}"),
            ("DELETE", f"dead-letters/{dead}"),
            ("POST", f"dead-letters/{dead}/redrive"),
            ("POST", f"dead-letters/{dead}/redrive?kind=execute"),
        ):
            check_problem(await other.http.request(method, f"/api/{path}"), 404)
        assert (await api.typed(waiting))["status"] == "scheduled"
        assert await letters(other, f"label=batch={batch}") == []
        for path in ("jobs/cancel", "dead-letters/redrive"):
            body = {"labels": {"batch": batch}}
            assert (await post(other, path, body | {"dryRun": True})).json()["count"] == 0
            check_problem(await post(only_writes, path, body), 403)
        answer = await post(api, "dead-letters/redrive", {"labels": {"batch": batch}, "rate": 1})
        for method in ("GET", "DELETE"):
            check_problem(await other.http.request(method, answer.headers["location"]), 404)
            check_problem(await only_writes.http.request(method, answer.headers["location"]), 403)
        check_problem(await only_writes.http.post(f"/api/dead-letters/{dead}/redrive"), 403)
        assert (await only_writes.http.delete(f"/api/jobs/{waiting}")).status_code == 200
    finally:
        for client in apis.values():
            await client.aclose()
        service.terminate()
