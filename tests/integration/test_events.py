"""Event streams and `Prefer: wait`, with two replicas of intake."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import redis.asyncio
from tests.integration.conftest import ENV, Servers
from tests.integration.test_running import read_metrics
from tests.integration.test_submit import check_problem
from tests.support.client import Api, connected
from tests.support.logs import Logs
from tests.support.sse import Event, EventSource, listen
from tests.support.target import HANG, Target, respond
from tests.support.waiting import eventually

from carom_common.adapters.store.events import event, stream_key
from devstack.servers import Redis
from devstack.services import Stack

pytestmark = pytest.mark.stack

log = logging.getLogger(__name__)

FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis of this module's own: it is restarted, and its connections are counted."""
    with Redis(tmp_path_factory.mktemp("events") / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def pair(servers: Servers, store: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two replicas of intake, one of each other service, on queues of their own."""
    rabbitmq = servers.rabbitmq
    rabbitmq.ctl("add_vhost", "events")
    rabbitmq.ctl("set_permissions", "--vhost", "events", "guest", ".*", ".*", ".*")
    log = tmp_path_factory.mktemp("events-log")
    with Stack(rabbitmq.url + "events", store.url, log=log, env=ENV, replicas={"intake": 2}) as stack:
        yield stack


@pytest.fixture(scope="module")
async def api(pair: Stack) -> AsyncIterator[Api]:
    client = Api(pair.api)
    yield client
    await client.aclose()


@pytest.fixture(scope="module")
async def other(pair: Stack) -> AsyncIterator[Api]:
    """The same API at the other replica."""
    client = Api(pair.of("intake")[1].url)
    yield client
    await client.aclose()


@pytest.fixture
async def client(store: Redis) -> AsyncIterator[Any]:
    async with redis.asyncio.from_url(store.url) as client:
        yield client


def told(events: list[Event], job_id: str) -> list[tuple[str, int]]:
    """What happened to one job, with the attempt."""
    return [(one.event, one.data["attempt"]) for one in events if one.data.get("jobId") == job_id]


WHOLE_LIFE = [("queued", 0), ("in_progress", 1), ("waiting", 1), ("in_progress", 2), ("completed", 2)]


async def test_the_stream_of_a_job(pair: Stack, api: Api, target: Target) -> None:
    """Begins with the state, tells every change, ends after the outcome of the callback; 204 for who had it all."""
    receiver = target.endpoint(respond(503), respond())
    job_id = await api.submit(target.endpoint(respond(503), respond()).url, receiver.url, delay=1000, **FAST)
    path = f"/api/jobs/{job_id}/events"
    async with listen(pair.of("intake")[1].url, path) as stream:
        state = await stream.next()
        assert state is not None
        assert state.event == "state"
        assert state.id
        at = state.data.pop("at")
        assert state.data == {
            "jobId": job_id, "event": "state", "status": "scheduled", "callback": "pending",
            "generation": 1, "attempt": 0,
        }  # fmt: skip
        events = await stream.rest()
        assert stream.ended
        assert stream.retry == 2000
    assert told(events, job_id) == [*WHOLE_LIFE[1:], ("callback.waiting", 1), ("callback.delivered", 2)]
    times = [at, *(one.data["at"] for one in events)]
    assert times == sorted(times)
    for one in events:
        assert one.data == {
            "jobId": job_id, "event": one.event, "generation": 1, "attempt": one.data["attempt"], "at": one.data["at"],
        }  # fmt: skip
    async with listen(pair.api, path, events[1].id) as stream:
        assert await stream.rest() == events[2:]
    async with listen(pair.api, path, lastEventId=events[-2].id) as stream:
        assert await stream.rest() == events[-1:]
    gone = await api.http.get(path, headers={"Last-Event-ID": events[-1].id})
    assert (gone.status_code, gone.content) == (204, b"")
    async with listen(pair.api, path) as stream:
        (state,) = await stream.rest()
        assert (state.data["status"], state.data["callback"]) == ("completed", "delivered")
    assert (await api.http.get(path, headers={"Last-Event-ID": state.id})).status_code == 204


@pytest.mark.parametrize(
    ("answer", "fields", "last"),
    [(respond(404), {}, ("failed", 1)), (respond(), {"ttl": 300, "maxRetries": 0}, ("completed", 1))],
)
async def test_it_ends_with_the_job_where_no_callback_is_wanted(
    pair: Stack, api: Api, target: Target, answer: Any, fields: dict[str, Any], last: tuple[str, int]
) -> None:
    job_id = await api.submit(target.endpoint(answer).url, **fields)
    async with listen(pair.api, f"/api/jobs/{job_id}/events") as stream:
        events = await stream.rest()
    final = events[-1]
    assert (final.data.get("status", final.event), final.data["attempt"]) == last


async def test_a_job_that_expires_uncalled(pair: Stack, api: Api, target: Target) -> None:
    endpoint = target.endpoint(respond(503))
    job_id = await api.submit(endpoint.url, ttl=1000, retryDelay=5000, retry={"strategy": "fixed"})
    async with listen(pair.api, f"/api/jobs/{job_id}/events") as stream:
        events = await stream.rest()
    assert told(events, job_id)[-1] == ("expired", 1)
    assert len(endpoint.requests) == 1


async def test_the_stream_of_a_tenant_resumes_at_the_other_replica(pair: Stack, api: Api, target: Target) -> None:
    """Exactly what followed the last event that was seen, while more happens."""
    answering = target.endpoint()
    async with listen(pair.api, "/api/events") as whole:
        first = await api.submit(target.endpoint(respond(503), respond()).url, **FAST)
        before: list[Event] = []
        while ("completed", 2) not in told(before, first):
            before.append(await _one(whole))
        assert told(before, first) == WHOLE_LIFE
        async with listen(pair.of("intake")[1].url, "/api/events") as cut:
            a, b = await asyncio.gather(api.submit(answering.url), api.submit(answering.url))
            seen = [await cut.next() for _ in range(3)]
        jobs = [a, b, *(await asyncio.gather(*(api.submit(answering.url) for _ in range(10))))]
        async with listen(pair.api, "/api/events", cut.last_id) as resumed:
            jobs.append(await api.submit(answering.url))
            expected: list[Event] = []
            while not all(("completed", 1) in told(expected, job_id) for job_id in jobs):
                expected.append(await _one(whole))
            rest = [await _one(resumed) for _ in range(len(expected) - len(seen))]
    assert [*seen, *rest] == expected
    for job_id in jobs:
        assert told(expected, job_id) == [("queued", 0), ("in_progress", 1), ("completed", 1)]


async def _one(stream: EventSource) -> Event:
    found = await stream.next()
    assert found is not None
    return found


async def test_only_some_events(pair: Stack, api: Api, target: Target) -> None:
    async with listen(pair.api, "/api/events", event=["failed", "expired"]) as stream:
        await api.wait_for_status(await api.submit(target.endpoint().url))
        failed = await api.submit(target.endpoint(respond(404)).url)
        assert told([await _one(stream)], failed) == [("failed", 1)]


async def test_a_gap_is_told(pair: Stack, api: Api, target: Target, client: Any) -> None:
    """Of what is not kept any more; the stream of a job then begins with its state."""
    endpoint = target.endpoint(HANG)
    job_id = await api.submit(endpoint.url)
    await api.wait_for_status(job_id, "in_progress")
    old = (await client.xrange(stream_key("default"), count=1))[0][0].decode()
    kept = await client.xtrim(stream_key("default"), maxlen=1, approximate=False)
    assert kept
    first = (await client.xrange(stream_key("default"), count=1))[0][0].decode()
    async with listen(pair.api, "/api/events", old) as stream:
        gap, following = await _one(stream), await _one(stream)
        assert (gap.event, gap.data["lastEventId"], gap.data["firstKept"]) == ("gap", old, first)
        assert following.id == first
    async with listen(pair.api, f"/api/jobs/{job_id}/events", old) as stream:
        gap, state = await _one(stream), await _one(stream)
        assert (gap.event, state.event, state.data["status"]) == ("gap", "state", "in_progress")
    async with listen(pair.api, "/api/events", "99999999999999-0") as stream:
        assert (await _one(stream)).event == "gap"
    endpoint.release()


async def test_a_missing_event_does_not_leave_a_stream_open(pair: Stack, api: Api, target: Target, client: Any) -> None:
    """A process may die between the record and the event: the state is looked at while nothing happens."""
    endpoint = target.endpoint(HANG)
    job_id = await api.submit(endpoint.url)
    await api.wait_for_status(job_id, "in_progress")
    async with listen(pair.api, f"/api/jobs/{job_id}/events") as stream:
        assert (await _one(stream)).data["status"] == "in_progress"
        await client.hset(f"carom:{{{job_id}}}:state", mapping={"status": "failed", "callback": "none"})
        (state,) = await stream.rest(within=40)
        assert (state.event, state.data["status"]) == ("state", "failed")
        assert not stream.comments
    endpoint.release()


async def test_heartbeats(pair: Stack, api: Api, client: Any) -> None:
    """A comment every 15 s; with it the place to resume at moves past what the stream leaves out."""
    async with listen(pair.api, "/api/events", event="expired") as stream:
        waiting = asyncio.create_task(stream.next(60))
        place = await client.execute_command(*event("default", "x", "held", 1, 0, 0))
        await eventually(lambda: stream.comments, "a heartbeat", 40)
        await eventually(lambda: stream.last_id == place.decode(), "its id", 5)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize(
    ("query", "headers", "what"),
    [
        ("event=exploded", {}, "'exploded' never happens; known are queued"),
        ("status=failed", {}, "status is no parameter here; known are lastEventId, event"),
        ("lastEventId=yesterday", {}, "lastEventId must be the id of an event"),
        ("", {"Last-Event-ID": "1-2-3"}, "Last-Event-ID must be the id of an event"),
    ],
)
async def test_what_is_not_known_is_refused(api: Api, query: str, headers: dict[str, str], what: str) -> None:
    answer = await api.http.get(f"/api/events?{query}", headers=headers)
    assert what in check_problem(answer, 400)["detail"]


async def test_jobs_that_are_none(api: Api) -> None:
    for job_id in (str(uuid.uuid4()), "x"):
        check_problem(await api.http.get(f"/api/jobs/{job_id}/events"), 404)
    assert (await api.http.head("/api/events")).status_code == 200


# Waiting for the result


async def test_a_result_that_comes_in_time(api: Api, other: Api, target: Target) -> None:
    answer = await api.post({"targetUrl": target.endpoint().url, "callbackUrl": None}, {"Prefer": "wait=20"})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["status"] == "completed"
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["location"] == f"/api/jobs/{document['jobId']}"
    assert document == await other.typed(document["jobId"])


async def test_a_result_that_does_not_come_in_time(api: Api, target: Target) -> None:
    endpoint = target.endpoint(HANG)
    body = {"targetUrl": endpoint.url, "callbackUrl": None}
    started = time.monotonic()
    answer = await api.post(body, {"Prefer": "respond-async, wait=1"})
    assert time.monotonic() - started >= 1
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['jobId']}"
    for ignored in ("wait=0", "wait=soon", "respond-async"):
        answer = await api.post(body, {"Prefer": ignored})
        assert (answer.status_code, answer.headers.get("preference-applied")) == (202, None)
    answer = await api.post({**body, "targetUrl": target.endpoint().url}, {"Prefer": "wait=9000"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")
    endpoint.release()


async def test_waiting_when_the_event_is_missing(api: Api, target: Target, client: Any) -> None:
    endpoint = target.endpoint(HANG)
    body = {"targetUrl": endpoint.url, "callbackUrl": None}
    waiting = asyncio.create_task(api.post(body, {"Prefer": "wait=3"}))
    job_id = (await endpoint.one()).header("X-Carom-Job-Id")
    await client.hset(f"carom:{{{job_id}}}:state", mapping={"status": "failed", "callback": "none"})
    answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    endpoint.release()


async def nobody_listens(pair: Stack) -> None:
    """Streams and waits of earlier tests are over; what is left tells where it stands."""
    async with httpx.AsyncClient(trust_env=False) as http:

        async def none() -> bool:
            samples = await read_metrics(http, *pair.of("intake"))
            return not samples.get(("carom_event_listeners", ()))  # there from the first listener on

        try:
            await eventually(none, "nobody listens", interval=0.2)
        except AssertionError:
            for intake in pair.of("intake"):
                tasks = (await http.get(f"{intake.admin}/debug/tasks")).json()["tasks"]
                log.warning("%s", [task["stack"] for task in tasks if "carom_intake" in str(task["stack"])])
            raise


async def test_two_hundred_waiters_cost_one_read_a_replica(
    pair: Stack, api: Api, other: Api, target: Target, client: Any
) -> None:
    """And a client that leaves frees its place."""
    endpoint = target.endpoint(HANG)
    body = {"targetUrl": endpoint.url, "callbackUrl": None, "timeout": 300_000}
    limits = httpx.Limits(max_connections=300)
    await nobody_listens(pair)
    async with httpx.AsyncClient(trust_env=False, timeout=90, limits=limits) as http:
        posts = [
            asyncio.create_task(http.post(f"{base}/api/jobs", json=body, headers={"Prefer": "wait=60"}))
            for base in (str(api.http.base_url).rstrip("/"), str(other.http.base_url).rstrip("/"))
            for _ in range(100)
        ]

        async def waiters(count: int) -> bool:
            samples = await read_metrics(http, *pair.of("intake"))
            found = samples["carom_event_listeners", ()]
            log.warning("%d wait, %d of %d posts ended", found, sum(post.done() for post in posts), len(posts))
            return found == count

        async def reads() -> int:
            return sum(entry["cmd"] == "xread" and "b" in entry["flags"] for entry in await client.client_list())

        try:
            await eventually(lambda: waiters(200), "200 waiters", 50, 0.2)
            await asyncio.sleep(0.1)
            assert await reads() <= 2
            for post in posts[:100]:
                post.cancel()
            await eventually(lambda: waiters(100), "100 places free", interval=0.2)
            endpoint.release()
            answers = await asyncio.gather(*posts[100:])
            assert {answer.status_code for answer in answers} <= {200, 202}
            await eventually(lambda: waiters(0), "all places free", interval=0.2)
        finally:  # or the next tests find this host's permits gone
            endpoint.release()
            for post in posts:
                post.cancel()
            await asyncio.gather(*posts, return_exceptions=True)


# Trouble


async def test_redis_restarts_under_open_streams(pair: Stack, api: Api, store: Redis, target: Target) -> None:
    """They go on where they were; a stream that ends instead is resumed."""
    async with listen(pair.api, "/api/events") as stream:
        job_id = await api.submit(target.endpoint().url)
        await stream.until("completed")
        store.restart()
        events: list[Event] = []

        async def accepted() -> str | None:
            answer = await api.post({"targetUrl": target.endpoint().url, "callbackUrl": None})
            return str(answer.json()["jobId"]) if answer.status_code == 202 else None

        job_id = await eventually(accepted, "a job taken after the restart", interval=0.2)
        while ("completed", 1) not in told(events, job_id):
            events.append(await _one(stream))
        assert told(events, job_id) == [("queued", 0), ("in_progress", 1), ("completed", 1)]


async def test_the_number_of_streams_and_their_time_are_bounded(pair: Stack, target: Target) -> None:
    """Beyond, a stream gets a 503, and a submission is answered at once."""
    few = pair.add("intake")
    few.env |= {"CAROM_MAX_STREAMS": "1", "CAROM_STREAM_SECONDS": "3"}
    few.start()
    await connected(few)
    async with (
        httpx.AsyncClient(base_url=few.url, trust_env=False, timeout=30) as http,
        listen(few.url, "/api/events") as stream,
    ):
        refused = await http.get("/api/events")
        check_problem(refused, 503)
        assert int(refused.headers["retry-after"]) > 0
        body = {"targetUrl": target.endpoint().url, "callbackUrl": None}
        answer = await http.post("/api/jobs", json=body, headers={"Prefer": "wait=20"})
        assert (answer.status_code, answer.headers.get("preference-applied")) == (202, None)
        await stream.rest()
        assert stream.ended
        assert stream.last_id
    assert few.terminate(20) == 0


async def test_intake_stops_with_open_streams(pair: Stack, target: Target) -> None:
    """Within seconds, with a clean end of each response."""
    leaving = pair.add("intake")
    leaving.env["CAROM_SHUTDOWN_TIMEOUT"] = "60"
    leaving.start()
    await connected(leaving)
    endpoint = target.endpoint(HANG)
    async with contextlib.AsyncExitStack() as held:
        streams = [await held.enter_async_context(listen(leaving.url, "/api/events")) for _ in range(20)]
        http = await held.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
        body = {"targetUrl": endpoint.url, "callbackUrl": None}
        waiting = asyncio.create_task(http.post(f"{leaving.url}/api/jobs", json=body, headers={"Prefer": "wait=60"}))
        await endpoint.one()
        started = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(leaving.terminate, 50))
        for stream in streams:
            await stream.rest()
            assert stream.ended
        assert (await waiting).status_code == 202
        assert await stopping == 0
        assert time.monotonic() - started < 20
    endpoint.release()
    log = Logs(leaving.log.parent).text() if not callable(leaving.log) else ""
    assert "request_failed" not in log
    assert "Traceback" not in log
