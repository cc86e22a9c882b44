"""`?explain=true` on real jobs: it says where they are, and with what they go on."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis as Client
from tests.integration.conftest import Servers
from tests.integration.test_contract import check
from tests.integration.test_submit import check_problem
from tests.support.client import Api
from tests.support.target import HANG, Target, respond
from tests.support.waiting import eventually

from carom_common.adapters.store.records import log_key
from carom_intake.openapi.shapes import ref
from devstack.ports import free_port

pytestmark = pytest.mark.stack

SLOW: dict[str, Any] = {"retry": {"strategy": "fixed", "jitter": "none"}, "retryDelay": 30_000}


@pytest.fixture
async def place() -> AsyncIterator[Target]:
    """A destination of its own for each test."""
    async with Target() as target:
        yield target


async def document(api: Api, job_id: str) -> dict[str, Any]:
    answer = await api.http.get(f"/api/jobs/{job_id}?explain=true")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    check(found, ref("JobDocument"))
    return found


async def explained(api: Api, job_id: str, code: str) -> dict[str, Any]:
    """The explanation, once it has this code."""

    async def reached() -> dict[str, Any] | None:
        found: dict[str, Any] = (await document(api, job_id))["explanation"]
        return found if found["code"] == code else None

    return await eventually(reached, f"{job_id} is {code}", interval=0.05)


async def put(api: Api, host: str, rule: dict[str, Any]) -> None:
    """Set a rule, and give the executor the second in which it looks."""
    assert (await api.http.put(f"/api/destinations/{host}", json=rule)).status_code == 200
    await asyncio.sleep(1.5)


async def test_a_job_on_its_way_to_the_dead_letters(api: Api, place: Target) -> None:
    """It runs, waits for its retry, runs when that is asked for, and is dead: what is advised does what it says."""
    endpoint = place.endpoint(respond(503, delay=1), respond(503))
    job_id = await api.submit(f"{endpoint.url}?token=hunter2", maxRetries=1, **SLOW)
    runs = await explained(api, job_id, "running")
    assert runs["where"].startswith("Attempt 1 of 2 is with the process ")
    waits = await explained(api, job_id, "waiting-for-retry")
    assert waits["why"] == f"Attempt 1 of 2 failed: {place.host} answered 503."
    shown = await document(api, job_id)
    assert f"Attempt 2 begins at {shown['nextAttemptAt']}" in shown["explanation"]["next"]
    assert "hunter2" not in json.dumps(shown["explanation"])
    assert waits["do"] == f"POST /api/jobs/{job_id}/retry begins it at once."
    assert (await api.http.post(f"/api/jobs/{job_id}/retry")).status_code == 202
    dead = await explained(api, job_id, "dead-letter")
    assert f"POST /api/dead-letters/{job_id}/redrive" in dead["do"]
    assert (await api.http.post(f"/api/dead-letters/{job_id}/redrive")).status_code == 202


async def test_a_pause_is_named_at_once_and_again_once_an_executor_knows(api: Api, place: Target) -> None:
    endpoint = place.endpoint()
    selector = {"host": place.host}
    assert (await api.http.post("/api/pause", json=selector)).status_code == 200
    scheduled = await api.submit(endpoint.url, delay=60_000)
    # No look of intake's or an executor's in between: the pause is read when the question comes.
    assert f"the pause of jobs for {place.host}" in (await document(api, scheduled))["explanation"]["next"]
    await asyncio.sleep(1.5)
    job_id = await api.submit(endpoint.url)

    async def held() -> dict[str, Any] | None:
        found = await document(api, job_id)
        return found if "An executor took it" in found["explanation"]["where"] else None

    shown = await eventually(held, "an executor held it back")
    found = shown["explanation"]
    assert (found["code"], shown["waitReason"]) == ("held-paused", "paused")
    assert found["do"] == f'POST /api/resume with {{"host": "{place.host}"}} ends it.'
    assert (await api.http.post("/api/resume", json=selector)).status_code == 200
    # Nobody has looked at the job since: it is still held, for a pause that is over.
    if (over := (await document(api, job_id))["explanation"])["code"] == "held-paused":
        assert "no longer in force" in over["why"]
    await api.wait_for_status(job_id, "completed", within=40)
    await api.http.delete(f"/api/jobs/{scheduled}")


async def test_a_limit_is_named(api: Api, place: Target) -> None:
    endpoint = place.endpoint(HANG, respond())
    await put(api, place.host, {"concurrency": 1})
    first = await api.submit(endpoint.url)
    await endpoint.one()
    second = await api.submit(endpoint.url)
    found = await explained(api, second, "held-concurrency")
    assert "at most 1 at once. 1 are in use" in found["why"]
    assert (await explained(api, first, "running"))["do"] == f"DELETE /api/jobs/{first} cancels it."
    endpoint.release()
    await api.wait_for_status(second, "completed", within=40)
    assert (await document(api, second))["explanation"]["why"] == f"{place.host} answered 200."
    await api.http.delete(f"/api/jobs/{first}")


async def test_an_open_circuit_says_when_it_is_tried(api: Api) -> None:
    host = f"127.0.0.1:{free_port()}"
    await put(api, host, {"circuit": {"failures": 1, "openSeconds": 60}})
    first = await api.submit(f"http://{host}/", maxRetries=0)
    await explained(api, first, "dead-letter")
    second = await api.submit(f"http://{host}/", maxRetries=0)
    found = await explained(api, second, "held-circuit-open")
    assert f"The circuit of {host} has been open since" in found["why"]
    assert "on one call tries whether somebody is there" in found["next"]
    await api.http.delete(f"/api/jobs/{second}")


async def test_a_callback_that_is_tried_again(api: Api, place: Target) -> None:
    receiver = place.endpoint(respond(500), respond(204))
    callback = {"url": receiver.url, "retry": {"maxRetries": 3, "retryDelay": 30_000, "strategy": "fixed"}}
    answer = await api.post({"targetUrl": place.endpoint().url, "callback": callback})
    job_id = answer.json()["jobId"]

    async def waits() -> dict[str, Any] | None:
        step = (await document(api, job_id))["explanation"]["callback"]
        return step if step and step["code"] == "callback-waiting-for-retry" else None

    step = await eventually(waits, "the callback waits for its retry")
    assert step["where"].endswith("for attempt 2 of 4.")
    assert step["why"] == "Attempt 1 failed: the receiver answered 500."


async def test_what_is_left_of_a_job_when_its_time_is_over(api: Api, servers: Servers) -> None:
    """Its log goes with its record; what recognises late copies of its message stays."""
    job_id = await api.submit("http://127.0.0.1:9/", delay=3_600_000)
    assert (await api.http.delete(f"/api/jobs/{job_id}")).status_code == 200
    with Client.from_url(servers.redis.url) as store:
        store.delete(log_key(job_id))
    check_problem(await api.http.get(f"/api/jobs/{job_id}"), 404)
    answer = await api.http.get(f"/api/jobs/{job_id}?explain=true")
    check_problem(answer, 404)
    assert "it was cancelled, and its retention time is over" in answer.json()["detail"]


async def test_the_parameter_is_true_or_false(api: Api, place: Target) -> None:
    job_id = await api.submit(place.endpoint().url)
    path = f"/api/jobs/{job_id}"
    for plain in ("", "?explain=false"):
        assert "explanation" not in (await api.http.get(path + plain)).json()
    for wrong, pointer in (
        ("?explain=yes", "?explain"),
        ("?explain=", "?explain"),
        ("?explain=true&explain=true", "?explain"),
        ("?why=true", "?why"),
    ):
        answer = await api.http.get(path + wrong)
        check_problem(answer, 400)
        assert [problem["pointer"] for problem in answer.json()["errors"]] == [pointer]
    for unknown in ("7b0c2a52-5a3f-4a0e-9d5e-0f6b7f0e9c11", "no-uuid"):
        check_problem(await api.http.get(f"/api/jobs/{unknown}?explain=true"), 404)
