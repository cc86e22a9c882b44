"""Limits, rates, circuits and pauses, shared by two executors."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from bench.dead_hosts import everywhere, submit
from tests.integration.conftest import ENV, Servers
from tests.support.client import Api
from tests.support.crowd import Crowd
from tests.support.target import HANG, Target, respond
from tests.support.waiting import eventually

from devstack.ports import free_port
from devstack.services import Stack

pytestmark = pytest.mark.stack

CONFIGURED = {"configured.example": {"concurrency": 7, "rate": {"perSecond": 2.5}}}
KNOWN_SECONDS = 3.0
"""Then the other executor and both intakes know that a host has answered: each looks once a second."""


@pytest.fixture(scope="module")
def pair(servers: Servers) -> Iterator[Stack]:
    """Two executors and a broker's host and a store's database of their own."""
    servers.rabbitmq.ctl("add_vhost", "limits")
    servers.rabbitmq.ctl("set_permissions", "-p", "limits", "guest", ".*", ".*", ".*")
    with Stack(
        f"{servers.rabbitmq.url}limits",
        f"{servers.redis.url}/7",
        log=servers.directory / "limits",
        env=ENV
        | {
            "CAROM_CIRCUIT_FAILURES": "3",
            "CAROM_CIRCUIT_OPEN": "2",
            "CAROM_DESTINATIONS": json.dumps(CONFIGURED),
        },
        replicas={"executor": 2, "intake": 2},
    ) as stack:
        yield stack
    servers.rabbitmq.ctl("delete_vhost", "limits")


@pytest.fixture
async def own(pair: Stack) -> AsyncIterator[Api]:
    client = Api(pair.api)
    yield client
    await client.aclose()


@pytest.fixture
async def place() -> AsyncIterator[Target]:
    """A destination of its own for each test."""
    async with Target() as target:
        yield target


async def submit_many(api: Api, url: str, count: int, **fields: Any) -> list[str]:
    """Submit in one request; gives the ids."""
    job = {"targetUrl": url, "callbackUrl": None, **fields}
    answer = await api.http.post("/api/jobs/batch", json={"jobs": [job] * count})
    assert answer.status_code == 207, answer.text
    return [entry["jobId"] for entry in answer.json()["jobs"]]


async def put(api: Api, host: str, rule: dict[str, Any]) -> dict[str, Any]:
    """Set a rule, and give the executors the second in which they look."""
    answer = await api.http.put(f"/api/destinations/{host}", json=rule)
    assert answer.status_code == 200, answer.text
    await asyncio.sleep(1.5)
    document: dict[str, Any] = answer.json()
    return document


async def operate(api: Api, what: str, selector: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await api.http.post(f"/api/{what}", json=selector)
    assert answer.status_code == 200, answer.text
    pauses: list[dict[str, Any]] = answer.json()["pauses"]
    return pauses


async def held(api: Api, job_id: str, reason: str) -> dict[str, Any]:
    """The job, once it says why it waits."""

    async def waits() -> dict[str, Any] | None:
        document = await api.typed(job_id)
        return document if document["waitReason"] == reason else None

    document: dict[str, Any] = await eventually(waits, f"{job_id} waits: {reason}")
    assert document["attempts"] == 0
    return document


async def all_completed(api: Api, jobs: list[str], within: float = 60) -> None:
    for job in jobs:
        document = await api.wait_for_status(job, within=within)
        assert document["status"] == "completed", document
        assert document["attempts"] == 1
        assert document["waitReason"] is None


@pytest.mark.parametrize(("limit", "jobs"), [(1, 40), (5, 150)])
async def test_both_executors_together_keep_to_a_limit(own: Api, limit: int, jobs: int) -> None:
    async with Crowd(0.04) as crowd:
        await put(own, crowd.host, {"concurrency": limit})
        ids = await submit_many(own, crowd.url, jobs)
        await all_completed(own, ids)
        assert crowd.most <= limit
        assert crowd.calls == jobs


async def test_more_than_fits_the_default_limit_gets_done(own: Api) -> None:
    async with Crowd(0.05) as crowd:
        ids = await submit_many(own, crowd.url, 1000)
        await all_completed(own, ids)
        assert crowd.most <= 50


async def test_both_executors_together_keep_to_a_rate(own: Api) -> None:
    async with Crowd(0.0) as crowd:
        await put(own, crowd.host, {"rate": {"perSecond": 20, "burst": 2}})
        ids = await submit_many(own, crowd.url, 100)
        await all_completed(own, ids)
        begun = crowd.begun
        for first in range(len(begun)):  # in any second no more than a second's calls and the burst
            within = sum(begun[first] <= at < begun[first] + 1 for at in begun)
            assert within <= 20 + 2 + 2, f"{within} calls in a second"


async def test_a_circuit_opens_tries_again_and_closes(own: Api) -> None:
    port = free_port()
    host, url = f"127.0.0.1:{port}", f"http://127.0.0.1:{port}/"
    await put(own, host, {"circuit": {"failures": 3, "openSeconds": 6}})

    async def destination() -> dict[str, Any]:
        document: dict[str, Any] = (await own.http.get(f"/api/destinations/{host}")).json()
        return document

    # Each executor counts for itself: the third in a row at one of them opens it for both.
    while (await destination())["circuit"]["state"] == "closed":
        assert (await own.wait_for_status(await own.submit(url, maxRetries=0)))["status"] == "failed"
    await asyncio.sleep(1.5)
    waiting = await submit_many(own, url, 20, maxRetries=0)
    for job in waiting:
        await held(own, job, "circuit-open")
    assert (await destination())["waiting"] == 20
    async with Crowd(0.01, port) as crowd:
        await all_completed(own, waiting)
        assert crowd.calls == 20
    assert (await destination())["circuit"]["state"] == "closed"


async def test_one_call_probes_a_half_open_circuit(own: Api) -> None:
    """Whoever is there again but does not answer gets one call in each period, whatever waits."""
    async with Target() as target:
        endpoint = target.endpoint(HANG)
        jobs = await submit_many(own, endpoint.url, 3, maxRetries=0, timeout=300)
        host = target.host

        async def is_open() -> bool:
            if (await own.http.get(f"/api/destinations/{host}")).json()["circuit"]["state"] != "closed":
                return True
            jobs.append(await own.submit(endpoint.url, maxRetries=0, timeout=300))
            await asyncio.sleep(0.1)
            return False

        await eventually(is_open, "the circuit opens")
        await asyncio.sleep(0.7)  # what began before is over
        before = len(endpoint.requests)
        jobs += await submit_many(own, endpoint.url, 20, maxRetries=0, timeout=300)
        await asyncio.sleep(4)
        probes = len(endpoint.requests) - before
        assert 1 <= probes <= 3, f"{probes} calls in 4 s, one each 2 s"
        endpoint.answers[:] = [respond()]
        for job in jobs:
            await own.wait_for_status(job, within=60)


async def test_a_paused_host_holds_its_jobs_and_no_others(own: Api, place: Target) -> None:
    other = place.endpoint()
    async with Crowd(0.01) as crowd:
        assert [p["host"] for p in await operate(own, "pause", {"host": crowd.host})] == [crowd.host]
        await asyncio.sleep(1.5)
        ids = await submit_many(own, crowd.url, 20)
        free = await own.submit(other.url)
        assert (await own.wait_for_status(free))["status"] == "completed"
        for job in ids:
            await held(own, job, "paused")
        assert crowd.calls == 0
        assert await operate(own, "resume", {"host": crowd.host}) == []
        await all_completed(own, ids, within=30)
        assert crowd.calls == 20


async def test_a_paused_label_holds_its_jobs(own: Api, place: Target) -> None:
    endpoint = place.endpoint()
    selector = {"label": {"key": "team", "value": "red"}}
    assert [p["label"] for p in await operate(own, "pause", selector)] == [{"key": "team", "value": "red"}]
    await asyncio.sleep(1.5)
    red = await own.submit(endpoint.url, labels={"team": "red"})
    blue = await own.submit(endpoint.url, labels={"team": "blue"})
    await own.wait_for_status(blue)
    await held(own, red, "paused")
    await operate(own, "resume", selector)
    await all_completed(own, [red], within=30)


async def test_a_held_job_ends_when_it_expires(own: Api, place: Target) -> None:
    endpoint = place.endpoint()
    await operate(own, "pause", {"host": place.host})
    await asyncio.sleep(1.5)
    job = await own.submit(endpoint.url, ttl=8000)
    await held(own, job, "paused")
    document = await own.wait_for_status(job, within=30)
    assert (document["status"], document["attempts"]) == ("expired", 0)
    await operate(own, "resume", {"host": place.host})
    assert endpoint.requests == []


async def test_a_pause_of_everything_stops_consuming_and_loses_nothing(own: Api, pair: Stack, place: Target) -> None:
    slow, endpoint = place.endpoint(respond(delay=3)), place.endpoint()
    running = await own.submit(slow.url)
    await slow.one()
    await operate(own, "pause", {})
    await asyncio.sleep(2)
    ids = await submit_many(own, endpoint.url, 50)
    assert (await own.wait_for_status(running))["status"] == "completed"  # what runs is finished
    await asyncio.sleep(1)
    assert endpoint.requests == []
    assert (await own.typed(ids[0]))["waitReason"] == "paused"
    listed = (await own.http.get("/api/jobs", params={"host": place.host, "status": "queued"})).json()["jobs"]
    assert [job["waitReason"] for job in listed] == ["paused"] * 50
    assert all(executor.ready for executor in pair.of("executor"))
    await operate(own, "resume", {})
    await all_completed(own, ids, within=30)
    assert len(endpoint.requests) == 50


async def test_pauses_are_listed_and_survive_both_executors(own: Api, pair: Stack, place: Target) -> None:
    endpoint = place.endpoint()
    host = place.host
    await operate(own, "pause", {"host": host})
    await operate(own, "pause", {"host": host})
    other = Api(pair.of("intake")[1].url)
    listed = (await other.http.get("/api/pauses")).json()["pauses"]
    await other.aclose()
    assert [(p["host"], p["label"]) for p in listed] == [(host, None)]
    for executor in pair.of("executor"):
        await asyncio.to_thread(executor.restart)
    job = await own.submit(endpoint.url)
    await held(own, job, "paused")
    await operate(own, "resume", {"host": host})
    await all_completed(own, [job], within=30)


async def test_what_two_executors_lent_comes_back_when_they_are_killed(own: Api, pair: Stack) -> None:
    async with Crowd(0.2) as crowd:
        await put(own, crowd.host, {"concurrency": 2})
        ids = await submit_many(own, crowd.url, 10)
        await eventually(lambda: crowd.calls >= 1, "calls are made")
        victim = pair.of("executor")[1]
        victim.kill()
        for job in ids:
            assert (await own.wait_for_status(job, within=60))["status"] == "completed"
        await asyncio.to_thread(victim.start)


async def test_a_cancelled_job_that_is_held_never_starts(own: Api, place: Target) -> None:
    endpoint, host = place.endpoint(), place.host
    await operate(own, "pause", {"host": host})
    await asyncio.sleep(1.5)
    job = await own.submit(endpoint.url)
    await held(own, job, "paused")
    assert (await own.http.delete(f"/api/jobs/{job}")).status_code == 200
    await operate(own, "resume", {"host": host})
    after = await own.submit(endpoint.url)
    await own.wait_for_status(after, within=30)
    await asyncio.sleep(3)
    assert len(endpoint.requests) == 1
    assert (await own.typed(job))["status"] == "cancelled"


async def test_many_dead_hosts_do_not_starve_a_healthy_one(own: Api, pair: Stack) -> None:
    """Their jobs are held, and the healthy host's go on: what this costs in time is in bench/."""
    async with everywhere(asyncio.Protocol) as port, Crowd(0.005) as crowd:
        await all_completed(own, await submit_many(own, crowd.url, 5))  # the host has proven itself
        await asyncio.sleep(KNOWN_SECONDS)
        assert await submit(pair.api, port, range(1000)) == 1000
        for _ in range(10):
            await all_completed(own, await submit_many(own, crowd.url, 10), within=20)
            await asyncio.sleep(0.3)
        page = (await own.http.get("/api/jobs", params={"waitReason": "unproven-host", "limit": 1000})).json()
        assert len(page["jobs"]) > 300
        assert (await own.http.post("/api/jobs/cancel", json={"labels": {"crowd": "yes"}})).status_code == 202


async def test_a_quick_host_that_hangs_keeps_no_others_waiting(own: Api, place: Target) -> None:
    """What waits for it begins in a moment, as long as it goes on: then it is held as for any other host."""
    async with Crowd(0.005) as crowd:
        await all_completed(own, await submit_many(own, place.endpoint(respond(200)).url, 1))
        await all_completed(own, await submit_many(own, crowd.url, 300))
        await asyncio.sleep(2)  # until intake knows that both have answered, and sends no job of theirs round
        crowd.seconds = 60
        # More than both executors take from their queue at once.
        stuck = [job for _ in range(2) for job in await submit_many(own, crowd.url, 1000, ttl=20_000)]
        [other] = await submit_many(own, place.endpoint(respond(200)).url, 1)
        await all_completed(own, [other], within=12)
        await own.wait_for_status(stuck[-1], "expired", within=40)


async def test_rules_are_set_shown_and_dropped(own: Api) -> None:
    host = "api.example:8443"
    shown = (await own.http.get(f"/api/destinations/{host}")).json()
    assert (shown["source"], shown["concurrency"], shown["rate"], shown["inUse"]) == ("default", 50, None, 0)
    rule = {"concurrency": 5, "rate": {"perSecond": 10}, "circuit": {"failures": 4, "openSeconds": 9}}
    answer = await own.http.put(f"/api/destinations/{host}", json=rule)
    assert answer.json() == {
        "host": host,
        "source": "api",
        "concurrency": 5,
        "rate": {"perSecond": 10, "burst": 1},
        "circuit": {"failures": 4, "openSeconds": 9, "state": "closed"},
        "inUse": 0,
        "waiting": 0,
    }
    configured = (await own.http.get("/api/destinations/configured.example")).json()
    assert (configured["source"], configured["concurrency"]) == ("configuration", 7)
    page = (await own.http.get("/api/destinations?limit=1")).json()
    assert len(page["destinations"]) == 1
    rest = (await own.http.get("/api/destinations", params={"cursor": page["nextCursor"]})).json()
    assert "configured.example" in [entry["host"] for entry in [*page["destinations"], *rest["destinations"]]]
    assert (await own.http.delete(f"/api/destinations/{host}")).status_code == 204
    assert (await own.http.get(f"/api/destinations/{host}")).json()["source"] == "default"


@pytest.mark.parametrize(
    "host", ["API.example", "api.example:0", "a%20b", "user@host", "host:99999", "[::1", "a" * 300]
)
async def test_what_is_no_destination_is_refused(own: Api, host: str) -> None:
    answer = await own.http.get(f"/api/destinations/{host}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "{host}"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"concurrency": 0}, "/concurrency"),
        ({"concurrency": "many"}, "/concurrency"),
        ({"rate": {}}, "/rate/perSecond"),
        ({"rate": {"perSecond": -1}}, "/rate/perSecond"),
        ({"circuit": {"openSeconds": 4000}}, "/circuit/openSeconds"),
        ({"speed": 1}, "/speed"),
        ([], ""),
    ],
)
async def test_what_is_no_rule_is_refused(own: Api, body: Any, pointer: str) -> None:
    answer = await own.http.put("/api/destinations/refused.example", json=body)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"hosts": "a"}, "/hosts"),
        ({"host": "UPPER.example"}, "/host"),
        ({"host": "a.example", "label": {"key": "a", "value": "b"}}, "/label"),
        ({"label": {"key": "no good", "value": "b"}}, "/label/key"),
        ({"label": {"key": "a"}}, "/label/value"),
        ([], ""),
    ],
)
async def test_what_selects_nothing_is_refused(own: Api, body: Any, pointer: str) -> None:
    answer = await own.http.post("/api/pause", json=body)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
