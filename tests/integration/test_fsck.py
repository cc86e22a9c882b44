"""carom-fsck: what was lost is found and repaired, what was not is left alone. A stack of its own, to lose from."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import redis.asyncio
from aio_pika.abc import AbstractChannel, AbstractConnection
from tests.integration.conftest import ENV, Servers
from tests.support import acl, rights
from tests.support.client import Api, connected
from tests.support.fsck import Fsck
from tests.support.logs import Logs
from tests.support.target import HANG, Endpoint, Target, respond
from tests.support.waiting import eventually

from carom_common.domain.buckets import BUCKETS
from carom_common.topology import (
    CALLBACK_QUEUE,
    DEAD_CALLBACK_QUEUE,
    DEAD_EXECUTE_QUEUE,
    EXECUTE_QUEUES,
    HELD_EXECUTE_QUEUE,
)
from devstack.paths import redis_binary
from devstack.servers import Redis
from devstack.services import KINDS, Stack

pytestmark = pytest.mark.stack

VHOST = "fsck"
WORK_QUEUES = (*EXECUTE_QUEUES.values(), HELD_EXECUTE_QUEUE, CALLBACK_QUEUE)
DELAYS_TO_25_S = tuple(f"carom.delay.{bucket}" for bucket in BUCKETS if bucket <= 25_000)
FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}}
JOBS, CALLBACKS = "job-without-message", "callback-not-published"
LETTERS, INDEXES = "dead-letter-without-record", "record-not-in-index"


@pytest.fixture(scope="module")
def store(servers: Servers) -> Iterator[Redis]:
    file = servers.directory / "fsck-users.acl"
    file.write_text(acl.aclfile())
    with Redis(servers.directory / "redis-of-fsck", settings={"aclfile": str(file)}) as store:
        yield store


@pytest.fixture(scope="module")
def own_stack(store: Redis, servers: Servers) -> Iterator[Stack]:
    ctl = servers.rabbitmq.ctl
    ctl("add_vhost", VHOST)
    ctl("set_permissions", "--vhost", VHOST, "guest", ".*", ".*", ".*")
    users = {kind: {"REDIS_URL": acl.url(store.url, f"carom-{kind}")} for kind in KINDS}
    with Stack(
        servers.rabbitmq.url + VHOST,
        store.url,
        log=servers.directory / "fsck",
        env=ENV,
        # Few slots, so that a few slow calls make deliveries wait.
        service_env=users | {"executor": users["executor"] | {"CAROM_EXECUTOR_CONCURRENCY": "8"}},
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
def fsck(store: Redis, servers: Servers, own_stack: Stack) -> Fsck:
    """With no more rights than k8s/rabbitmq and k8s/redis give it."""
    user, ctl = "carom-fsck", servers.rabbitmq.ctl
    rights.declare_users(servers.rabbitmq, servers.directory)
    ctl("set_permissions", "--vhost", VHOST, user, *rights.rights()[user])
    url = f"amqp://{user}:{rights.password(user)}@127.0.0.1:{servers.rabbitmq.port}/{VHOST}"
    return Fsck({"RABBITMQ_URL": url, "REDIS_URL": acl.url(store.url, "carom-intake")})


@pytest.fixture(scope="module")
async def connection(servers: Servers, own_stack: Stack) -> AsyncIterator[AbstractConnection]:
    async with await aio_pika.connect(servers.rabbitmq.url + VHOST) as connection:
        yield connection


@pytest.fixture(scope="module")
async def channel(connection: AbstractConnection) -> AbstractChannel:
    return await connection.channel()


@pytest.fixture(scope="module")
async def keys(store: Redis) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(store.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def own_logs(servers: Servers) -> Logs:
    return Logs(servers.directory / "fsck")


Purge = Callable[..., Awaitable[int]]


@pytest.fixture(scope="module")
def purge(channel: AbstractChannel) -> Purge:
    """Lose what is in some queues; gives how much that was."""

    async def lose(*queues: str) -> int:
        lost = 0
        for name in queues:
            queue = await channel.get_queue(name, ensure=False)
            lost += (await queue.purge()).message_count or 0
        return lost

    return lose


@pytest.fixture
async def paused(own_api: Api, own_logs: Logs) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Nothing is executed until what this gives is called."""
    before = len(own_logs.events(event="consumer_paused"))
    await own_api.http.post("/api/pause", json={})
    await own_logs.wait_for(before + 1, event="consumer_paused")
    resumed = len(own_logs.events(event="consumer_resumed"))

    async def resume() -> None:
        assert (await own_api.http.post("/api/resume", json={})).is_success
        await own_logs.wait_for(resumed + 1, event="consumer_resumed")

    yield resume
    await own_api.http.post("/api/resume", json={})


async def ended_once(api: Api, endpoint: Endpoint, receiver: Endpoint, jobs: list[str], calls: int = 1) -> None:
    """Every job completed and was called back, and nothing came twice."""
    for job_id in jobs:
        document = await api.wait_for_callback(job_id)
        assert (document["status"], document["callback"]["status"]) == ("completed", "delivered"), document
    assert len(endpoint.requests) == calls * len(jobs)
    told = sorted(request.header("webhook-id") or "" for request in receiver.requests)
    assert told == sorted(f"{job_id}_1_completed" for job_id in jobs)


# Nothing is wrong


async def test_with_traffic_and_nothing_lost_it_finds_nothing_even_twice_at_once(
    own_api: Api, fsck: Fsck, target: Target
) -> None:
    """More than there are slots for: deliveries wait in the queue and in hand, and retries go through delay buckets."""
    slow, flaky = target.endpoint(respond(200, delay=0.2)), target.endpoint(*[respond(503)] * 20, respond(200))
    receiver = target.endpoint()
    proven = await own_api.submit(slow.url, receiver.url)
    await own_api.wait_for_callback(proven)
    # Six seconds' worth at once, whatever the machine is at.
    burst = {"jobs": [{"targetUrl": slow.url, "callbackUrl": receiver.url}] * 250}
    answer = (await own_api.http.post("/api/jobs/batch", json=burst)).json()
    jobs, checked = [accepted["jobId"] for accepted in answer["jobs"]] + [proven], asyncio.Event()

    async def traffic() -> None:
        while not checked.is_set():
            jobs.extend(await asyncio.gather(*(own_api.submit(slow.url, receiver.url) for _ in range(12))))
            retried = (own_api.submit(flaky.url, receiver.url, maxRetries=10, **FAST) for _ in range(2))
            jobs.extend(await asyncio.gather(*retried))
            await asyncio.sleep(0.4)

    running = asyncio.create_task(traffic())
    both = await asyncio.gather(*(fsck("--repair", grace=0.5) for _ in range(2)))
    checked.set()
    await running
    for ran in both:
        assert (ran.code, ran.all_found, ran.report["notJudged"]) == (0, 0, []), ran
    assert sum(ran.report["suspects"] for ran in both) > 0, "nothing was asked about"
    for job_id in jobs:
        assert (await own_api.wait_for_callback(job_id, within=40))["callback"]["status"] == "delivered"
    assert len(receiver.requests) == len(jobs)
    assert len(slow.requests) + len(flaky.requests) == len(jobs) + 20


async def test_what_waits_for_good_reason_is_left_alone(own_api: Api, fsck: Fsck, target: Target) -> None:
    """Held for a pause, and due in an hour."""
    endpoint, receiver = target.endpoint(), target.endpoint()
    host = endpoint.url.removeprefix("http://").split("/")[0]
    assert (await own_api.http.post("/api/pause", json={"host": host})).is_success
    await asyncio.sleep(1.5)  # consumers look once a second
    held = await own_api.submit(endpoint.url, receiver.url)
    later = await own_api.submit(endpoint.url, None, runAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat())

    async def waits() -> bool:
        return bool((await own_api.typed(held))["waitReason"] == "paused")

    await eventually(waits, "the job is held")
    ran = await fsck("--repair")
    assert (ran.code, ran.all_found, ran.report["suspects"]) == (0, 0, 1), ran
    assert (await own_api.http.post("/api/resume", json={"host": host})).is_success
    await ended_once(own_api, endpoint, receiver, [held])
    assert (await own_api.typed(later))["status"] == "scheduled"
    assert (await own_api.http.delete(f"/api/jobs/{later}")).is_success


async def test_while_everything_is_paused_it_says_so_and_does_not_wait(
    own_api: Api, fsck: Fsck, target: Target, paused: Callable[[], Awaitable[None]]
) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint()
    job_id = await own_api.submit(endpoint.url, receiver.url)
    ran = await fsck("--repair", wait=30)
    assert (ran.code, ran.all_found) == (0, 0), ran
    assert [left["expected"] for left in ran.report["notJudged"]] == [True]
    assert "paused" in ran.report["notJudged"][0]["why"]
    assert ran.report["seconds"] < 15
    await paused()
    await ended_once(own_api, endpoint, receiver, [job_id])


async def test_without_consumers_it_does_not_judge(own_stack: Stack, own_api: Api, fsck: Fsck, target: Target) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint()
    own_stack.executor.terminate()
    try:
        job_id = await own_api.submit(endpoint.url, receiver.url)
        ran = await fsck("--repair", wait=1)
    finally:
        own_stack.executor.start()
    assert (ran.code, ran.all_found) == (2, 0), ran
    assert "nobody consumes" in ran.report["notJudged"][0]["why"]
    await ended_once(own_api, endpoint, receiver, [job_id])


# What is lost


async def test_jobs_whose_message_is_gone_are_found_and_repaired(
    own_api: Api, fsck: Fsck, target: Target, purge: Purge, paused: Callable[[], Awaitable[None]]
) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint()
    submits = (own_api.submit(endpoint.url, receiver.url, priority=p) for p in ("high", "normal", "low") * 2)
    jobs = list(await asyncio.gather(*submits))
    assert await purge(*WORK_QUEUES) == 6
    await paused()

    looked = await fsck()
    assert (looked.code, looked.found(JOBS), looked.repaired(JOBS)) == (1, 6, 0), looked
    assert {example["jobId"] for example in looked.report["examples"]} == set(jobs)
    assert endpoint.requests == []

    first, second = await asyncio.gather(fsck("--repair"), fsck("--repair"))
    assert (first.code, second.code, first.repaired(JOBS) + second.repaired(JOBS)) == (0, 0, 6), (first, second)
    await ended_once(own_api, endpoint, receiver, jobs)
    assert (await fsck()).all_found == 0


async def test_a_deleted_queue_a_lost_retry_and_an_attempt_that_died(
    own_stack: Stack,
    own_api: Api,
    own_logs: Logs,
    fsck: Fsck,
    target: Target,
    purge: Purge,
    channel: AbstractChannel,
    keys: Any,
) -> None:
    """Waiting for a retry, its message lost; and in a call as its executor died, its queue deleted meanwhile."""
    retried, receiver = target.endpoint(respond(503), respond(200)), target.endpoint()
    hung = target.endpoint(HANG, respond(200))
    waiting = await own_api.submit(retried.url, receiver.url, retryDelay=2500, retry={"strategy": "fixed"})
    running = await own_api.submit(hung.url, receiver.url, priority="high")
    await own_logs.wait_for(event="attempt", job_id=waiting)
    await asyncio.sleep(0.2)  # acks go in batches: an executor that dies before publishes the retry again
    assert await purge("carom.delay.2500") == 1
    await hung.wait()
    own_stack.executor.kill()
    high = EXECUTE_QUEUES["high"]

    async def came_back() -> bool:
        return (await channel.declare_queue(high, passive=True)).declaration_result.message_count == 1

    await eventually(came_back, "its message is in the queue again")
    assert (await channel.queue_delete(high)).message_count == 1
    own_stack.executor.start()
    await keys.hset(f"carom:{{{running}}}:state", "lease", "1")  # ten seconds later
    await asyncio.sleep(2.5)

    ran = await fsck("--repair")
    assert (ran.code, ran.repaired(JOBS)) == (0, 2), ran
    for job_id in (waiting, running):
        document = await own_api.wait_for_callback(job_id)
        assert (document["status"], document["callback"]["status"]) == ("completed", "delivered")
    assert (len(retried.requests), len(hung.requests), len(receiver.requests)) == (2, 2, 2)
    assert (await own_api.typed(waiting))["attempts"] == 2
    hung.release()


async def test_a_held_job_that_does_not_come_back_is_repaired(
    own_api: Api, fsck: Fsck, target: Target, purge: Purge
) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint()
    host = endpoint.url.removeprefix("http://").split("/")[0]
    assert (await own_api.http.post("/api/pause", json={"host": host})).is_success
    await asyncio.sleep(1.5)
    job_id = await own_api.submit(endpoint.url, receiver.url)

    async def lost() -> bool:
        return await purge(*DELAYS_TO_25_S) == 1

    await eventually(lost, "its message is lost from a delay bucket")
    assert (await own_api.http.post("/api/resume", json={"host": host})).is_success
    ran = await fsck("--repair", held=4)
    assert (ran.code, ran.repaired(JOBS)) == (0, 1), ran
    await ended_once(own_api, endpoint, receiver, [job_id])


async def test_a_callback_that_was_never_published(
    own_stack: Stack, own_api: Api, fsck: Fsck, target: Target, purge: Purge
) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint()
    own_stack.callback.terminate()
    job_id = await own_api.submit(endpoint.url, receiver.url)
    await own_api.wait_for_status(job_id, "completed")

    async def lost() -> bool:
        return await purge(CALLBACK_QUEUE) == 1

    await eventually(lost, "its callback is lost")
    own_stack.callback.start()
    assert (await fsck()).found(CALLBACKS) == 1
    ran = await fsck("--repair")
    assert (ran.code, ran.repaired(CALLBACKS)) == (0, 1), ran
    await ended_once(own_api, endpoint, receiver, [job_id])


async def test_killed_between_two_repairs_it_does_no_harm(
    own_api: Api, fsck: Fsck, target: Target, purge: Purge, paused: Callable[[], Awaitable[None]]
) -> None:
    endpoint, receiver = target.endpoint(), target.endpoint()
    jobs = list(
        await asyncio.gather(*(own_api.submit(endpoint.url, receiver.url, priority="high") for _ in range(150)))
    )
    assert await purge(*WORK_QUEUES) == 150
    await paused()
    process = await fsck.start("--repair", "--grace", "0")
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while b"fsck_found" not in await process.stderr.readline():
            pass
    process.kill()
    await process.communicate()
    ran = await fsck("--repair", wait=60)
    assert ran.code == 0, ran
    assert 0 < ran.repaired(JOBS) < 150
    await ended_once(own_api, endpoint, receiver, jobs)


async def test_records_that_no_index_knows_are_found_by_a_deep_look(
    own_api: Api, fsck: Fsck, target: Target, keys: Any
) -> None:
    endpoint = target.endpoint(respond(404))
    job_id = await own_api.submit(endpoint.url, None, labels={"of": "deep"})
    await own_api.wait_for_status(job_id, "failed")
    await asyncio.sleep(0.5)
    names = [name async for name in keys.scan_iter("carom:idx:*")]
    for name in names:
        await keys.zrem(name, job_id)
    assert (await fsck()).all_found == 0
    ran = await fsck("--deep", "--repair")
    assert (ran.code, ran.repaired(INDEXES)) == (0, 1), ran
    for query in ("status=failed", "label=of=deep"):
        listed = (await own_api.http.get(f"/api/jobs?{query}")).json()["jobs"]
        assert job_id in {job["jobId"] for job in listed}, query


async def test_after_redis_lost_all_dead_letters_are_known_again_and_redriven(
    own_api: Api, fsck: Fsck, target: Target, connection: AbstractConnection, keys: Any
) -> None:
    """Jobs whose retries are spent, and callbacks that nobody took; what is in the queues stays, in its order."""
    endpoint, receiver = target.endpoint(*[respond(503)] * 3, respond(200)), target.endpoint()
    refusing = target.endpoint(*[respond(500)] * 4, respond(200))
    jobs = []
    for _ in range(3):
        jobs.append(await own_api.submit(endpoint.url, receiver.url, maxRetries=0, labels={"of": "dead"}))
        await own_api.wait_for_callback(jobs[-1])
    undelivered = await own_api.submit(target.endpoint().url, refusing.url)
    await own_api.wait_for_callback(undelivered, "failed")
    before = await letters_in(connection, DEAD_EXECUTE_QUEUE), await letters_in(connection, DEAD_CALLBACK_QUEUE)
    assert [job_id for job_id, _ in before[0] if job_id in jobs] == jobs
    assert (await fsck("--repair")).found(LETTERS) == 0

    await keys.flushall()
    await eventually(lambda: keys.exists("carom:mark"), "a service leaves its mark")
    looked = await fsck()
    assert looked.code == 1
    assert looked.found(LETTERS) >= 4
    ran = await fsck("--repair")
    assert (ran.code, ran.repaired(LETTERS)) == (0, looked.found(LETTERS)), ran
    after = await letters_in(connection, DEAD_EXECUTE_QUEUE), await letters_in(connection, DEAD_CALLBACK_QUEUE)
    assert [[job_id for job_id, _ in queue] for queue in after] == [[job_id for job_id, _ in queue] for queue in before]

    assert (await fsck("--repair")).found(LETTERS) == 0
    unread = await letters_in(connection, DEAD_EXECUTE_QUEUE)
    assert [count for _, count in unread] == [count + 1 for _, count in after[0]], "it was read without need"

    listed = (await own_api.http.get("/api/dead-letters?label=of=dead")).json()["deadLetters"]
    assert {job["jobId"] for job in listed} == set(jobs)
    document = await own_api.typed(jobs[0])
    assert (document["status"], document["attempts"], document["attemptsLog"][0]["statusCode"]) == ("failed", 1, 503)
    assert (await own_api.http.post(f"/api/dead-letters/{jobs[0]}/redrive?kind=execute")).is_success
    assert (await own_api.wait_for_status(jobs[0], "completed"))["attempts"] == 2
    assert (await own_api.http.post(f"/api/dead-letters/{undelivered}/redrive?kind=callback")).is_success
    await own_api.wait_for_callback(undelivered, "delivered")
    ids = {request.header("webhook-id") for request in refusing.requests}
    assert ids == {f"{undelivered}_1_completed"}


async def letters_in(connection: AbstractConnection, queue: str) -> list[tuple[str, int]]:
    """Job and number of earlier deliveries of each, without taking one out."""
    found = []
    async with connection.channel() as own:
        letters = await own.get_queue(queue, ensure=False)
        while (message := await letters.get(fail=False)) is not None:
            found.append((json.loads(message.body)["jobId"], int(str(message.headers.get("x-delivery-count") or 0))))
    return found


# Backups, as docs/operations/backup.md has them. These come last: connections of the tests do not outlive them.


async def test_redis_is_restored_from_its_backup(
    own_api: Api, fsck: Fsck, target: Target, store: Redis, tmp_path: Path
) -> None:
    """What was there is there again; of what came later only the dead letters are known, and work goes on."""

    def cli(*arguments: str) -> None:
        command = [redis_binary("redis-cli"), "-p", str(store.port), *arguments]
        subprocess.run(command, check=False, capture_output=True, timeout=30)

    endpoint = target.endpoint()
    before = await own_api.submit(endpoint.url, None)
    await own_api.wait_for_status(before, "completed")
    backup = tmp_path / "carom.rdb"
    cli("--rdb", str(backup))
    later = await own_api.submit(endpoint.url, None)
    await own_api.wait_for_status(later, "completed")
    dead = await own_api.submit(target.endpoint(respond(503)).url, None, maxRetries=0)
    await own_api.wait_for_status(dead, "failed")

    files = store.directory / "appendonlydir"
    files.rename(store.directory / "appendonlydir.old")
    files.mkdir()
    shutil.copy(backup, files / "appendonly.aof.1.base.rdb")
    (files / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    cli("shutdown", "nosave")
    store.stop()
    store.start()

    async def answers() -> bool:
        return (await own_api.http.get(f"/api/jobs/{before}")).status_code == 200

    await eventually(answers, "the record of before is there")
    assert (await own_api.http.get(f"/api/jobs/{later}")).status_code == 404
    assert (await own_api.http.get(f"/api/jobs/{dead}")).status_code == 404
    ran = await fsck("--repair", "--dead-letters")
    assert (ran.code, ran.repaired(LETTERS)) == (0, 1), ran
    assert (await own_api.typed(dead))["status"] == "failed"
    after = await own_api.submit(endpoint.url, None)
    await own_api.wait_for_status(after, "completed")


async def test_rabbitmq_that_lost_everything_gets_its_work_back_from_the_records(
    own_stack: Stack,
    own_api: Api,
    fsck: Fsck,
    target: Target,
    servers: Servers,
    tmp_path: Path,
    paused: Callable[[], Awaitable[None]],
) -> None:
    """Users, rights and queues come from the exported definitions, messages from fsck."""
    endpoint, receiver, ctl = target.endpoint(), target.endpoint(), servers.rabbitmq.ctl
    jobs = list(await asyncio.gather(*(own_api.submit(endpoint.url, receiver.url) for _ in range(3))))
    definitions = str(tmp_path / "definitions.json")
    ctl("--quiet", "export_definitions", definitions)
    ctl("delete_vhost", VHOST)
    ctl("import_definitions", definitions)
    for service in own_stack.services:
        await connected(service) if service.kind == "intake" else service.wait_ready()
    await paused()
    ran = await fsck("--repair")
    assert (ran.code, ran.repaired(JOBS)) == (0, 3), ran
    await ended_once(own_api, endpoint, receiver, jobs)
