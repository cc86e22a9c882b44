"""Messages as they may really arrive: broken, unknown, repeated, old, early, without their record, again and again."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest
import redis.asyncio
from aio_pika.abc import AbstractIncomingMessage
from tests.integration.conftest import Servers
from tests.support.broker import Broker
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from carom_common import topology
from carom_common.adapters.amqp.connection import connect
from carom_common.contracts.job import Job, RetryPolicy
from carom_common.contracts.message import Attempt, CallbackMessage, ExecuteMessage, encode
from carom_common.domain.buckets import BUCKETS
from carom_common.domain.clock import now_ms, rfc3339
from carom_common.topology import DEAD_CALLBACK_QUEUE, DEAD_EXECUTE_QUEUE, DELIVERY_LIMIT
from devstack.services import Stack

pytestmark = pytest.mark.stack

EXECUTE, CALLBACK = "execute.normal", "callback.normal"
FIXED = RetryPolicy(strategy="fixed")


def execute(target: str, callback: str | None = None, **fields: Any) -> ExecuteMessage:
    job = Job(target_url=target, callback_url=callback, retry_delay=100, retry=FIXED)
    common: dict[str, Any] = {"version": 1, "tenant": "default", "job_id": str(uuid.uuid4()), "created_at": now_ms()}
    return ExecuteMessage(**(common | {"job": job} | fields))


def called_back(callback: str, **fields: Any) -> CallbackMessage:
    job = Job(target_url="http://127.0.0.1:9/", callback_url=callback)
    common: dict[str, Any] = {
        "version": 1,
        "tenant": "default",
        "job_id": str(uuid.uuid4()),
        "created_at": now_ms() - 1000,
    }
    attempt = Attempt(1, 200, True, rfc3339(now_ms()))
    final: dict[str, Any] = {"status": "completed", "completed_at": now_ms(), "attempts": (attempt,)}
    return CallbackMessage(**(common | final | {"job": job} | fields))


# What nobody can read


UNREADABLE: list[tuple[bytes, str]] = [
    (b"no JSON, %s", "invalid character"),
    (b"\xff\xfe %s", "invalid character"),
    (b'"%s"', "Expected `object`"),
    (b'{"version":1,"marker":"%s"}', "missing required field"),
    (b'{"version":1,"tenant":7,"marker":"%s"}', "Expected `str`"),
    (b'{"version":2,"marker":"%s"}', "unknown version 2"),
    (b'{"version":99,"tenant":{"id":1},"marker":"%s"}', "unknown version 99"),
    (b'{"marker":"%s"', "truncated"),
]


KINDS = [("executor", EXECUTE, "carom.execute.normal"), ("callback", CALLBACK, "carom.callback")]


@pytest.mark.parametrize(("kind", "key", "queue"), KINDS)
async def test_unreadable_messages_are_parked(
    broker: Broker, stack: Stack, target: Target, kind: str, key: str, queue: str
) -> None:
    """Undecodable, of an unknown version, or over 8 MiB: kept once in carom.parked, byte for byte, with reason and
    queue, and never delivered again."""
    before = len(broker.letters[topology.PARKED_QUEUE])

    async def run(template: bytes, reason: str) -> None:
        marker = uuid.uuid4().hex.encode()
        body = template % marker
        await broker.publish(key, body, other="header")
        letter = (await broker.parked(marker))[0]
        assert letter.body == body
        assert reason in str(letter.headers["reason"])
        assert letter.headers["queue"] == queue

    await asyncio.gather(*(run(*case) for case in UNREADABLE))

    endpoint = target.endpoint()
    message = execute(endpoint.url) if key == EXECUTE else called_back(endpoint.url)
    padding = b"x" * (8 * 1024 * 1024)
    oversized = encode(message)[:-1] + b',"traceparent":"' + padding + b'"}'
    await broker.publish(key, oversized)
    letter = (await broker.parked(message.job_id.encode()))[0]
    assert letter.body == oversized
    assert "8388608" in str(letter.headers["reason"])

    await nothing_is_left(broker, stack, kind, queue)
    assert endpoint.requests == []
    bodies = [letter.body for letter in broker.letters[topology.PARKED_QUEUE][before:]]
    assert len(bodies) == len(set(bodies))


@pytest.mark.parametrize("url", ["http://[::", "http://host:port/", "", "\x00"])
async def test_a_message_with_a_url_that_is_none_ends_its_job_and_disturbs_nobody(
    api: Api, broker: Broker, stack: Stack, target: Target, url: str, logs: Logs
) -> None:
    """It decodes, so it is not parked; what it says can still be nonsense, which must not come back for ever."""
    before = len(logs.events(event="consumer_disconnected"))
    hostile, good = execute(url), execute(target.endpoint().url)
    await broker.publish(EXECUTE, encode(hostile))
    await broker.publish(EXECUTE, encode(good))
    await api.wait_for_record(hostile.job_id)
    document = await api.wait_for_status(hostile.job_id)
    assert (document["status"], document["attempts"]) == ("failed", 1)
    await api.wait_for_record(good.job_id)
    assert (await api.wait_for_status(good.job_id))["status"] == "completed"
    calling = called_back(url)
    await broker.publish(CALLBACK, encode(calling))
    await api.wait_for_record(calling.job_id)
    assert (await api.wait_for_callback(calling.job_id))["callback"]["status"] == "failed"
    for kind, _, queue in KINDS:
        await nothing_is_left(broker, stack, kind, queue)
    assert len(logs.events(event="consumer_disconnected")) == before


async def ready_in(broker: Broker, queue: str) -> int:
    """Messages that wait in a queue; those that a consumer has do not count."""
    declared = await broker.channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0


async def nothing_is_left(broker: Broker, stack: Stack, kind: str, queue: str) -> None:
    """With its consumer away, what was not acknowledged would be back in the queue."""
    async with stopped(stack, kind):
        assert await ready_in(broker, queue) == 0


@asynccontextmanager
async def stopped(stack: Stack, kind: str) -> AsyncIterator[None]:
    service = stack.of(kind)[0]
    assert await asyncio.to_thread(service.terminate) == 0
    try:
        yield
    finally:
        await asyncio.to_thread(service.start)


async def test_messages_without_an_id_are_not_confused(api: Api, servers: Servers, target: Target) -> None:
    """An operator's republished messages may have lost their properties: each is worked on all the same."""
    endpoints = [target.endpoint(respond(delay=0.5)) for _ in range(3)]
    messages = [execute(endpoint.url) for endpoint in endpoints]
    # Through Carom's own client, because aio-pika makes an id where there is none.
    connection = await connect(servers.rabbitmq.url, "test")
    channel = await connection.channel()
    for message in messages:
        channel.publish(topology.WORK, EXECUTE, encode(message), "", b"")
    await asyncio.gather(*(endpoint.one() for endpoint in endpoints))
    for message in messages:
        assert (await api.wait_for_status(message.job_id))["status"] == "completed"
    await connection.close()


async def test_the_same_copy_twice_at_once(api: Api, broker: Broker, target: Target, stack: Stack) -> None:
    """Dead-lettering at least once may double a message with its id: one call, and both copies are acknowledged."""
    endpoint = target.endpoint(respond(delay=0.5))
    message = execute(endpoint.url)
    for _ in range(2):
        await broker.publish(EXECUTE, encode(message), message_id=f"twice-{message.job_id}")
    await api.wait_for_record(message.job_id)
    await api.wait_for_status(message.job_id)
    await nothing_is_left(broker, stack, "executor", "carom.execute.normal")
    assert len(endpoint.requests) == 1


# Who is right: message or record


async def test_a_message_makes_its_record(api: Api, broker: Broker, target: Target) -> None:
    """A job that Redis does not know is executed, recorded and called back as if it were known."""
    endpoint, callback = target.endpoint(), target.endpoint()
    earlier = Attempt(1, 503, False, rfc3339(now_ms()), error="the target answered 503")
    message = execute(endpoint.url, callback.url, attempt=2, attempts=(earlier,))
    await broker.publish(EXECUTE, encode(message))
    assert (await endpoint.one()).header("X-Carom-Attempt") == "2"
    result = (await callback.one()).json
    assert [entry["statusCode"] for entry in result["attemptsLog"]] == [503, 200]
    document = await api.wait_for_callback(message.job_id)
    assert (document["status"], document["attempts"], document["targetUrl"]) == ("completed", 2, endpoint.url)
    assert [entry["statusCode"] for entry in document["attemptsLog"]] == [503, 200]


async def test_a_callback_message_makes_its_record(api: Api, broker: Broker, target: Target) -> None:
    callback = target.endpoint()
    message = called_back(callback.url)
    await broker.publish(CALLBACK, encode(message))
    await callback.one()
    document = await api.wait_for_callback(message.job_id)
    assert (document["status"], document["attempts"], document["callback"]["status"]) == ("completed", 1, "delivered")


async def test_a_copy_of_a_settled_attempt_is_dropped(api: Api, broker: Broker, target: Target, logs: Logs) -> None:
    """The same body under another message id calls nobody a second time."""
    endpoint, callback = target.endpoint(), target.endpoint()
    message = execute(endpoint.url, callback.url)
    await broker.publish(EXECUTE, encode(message))
    await api.wait_for_record(message.job_id)
    await api.wait_for_callback(message.job_id, "delivered")
    await broker.publish(EXECUTE, encode(message))
    await logs.wait_for(event="delivery_dropped", job_id=message.job_id)
    assert len(endpoint.requests) == 1
    assert len(callback.requests) == 1


async def test_a_copy_of_a_running_attempt_waits_for_its_lease(
    api: Api, broker: Broker, target: Target, logs: Logs
) -> None:
    """While one copy runs the other is put off; when it comes back the attempt is settled and it is dropped."""
    endpoint, callback = target.endpoint(respond(delay=1)), target.endpoint()
    message = execute(endpoint.url, callback.url)
    await broker.publish(EXECUTE, encode(message))
    await endpoint.one()
    await broker.publish(EXECUTE, encode(message))
    await api.wait_for_record(message.job_id)
    await api.wait_for_callback(message.job_id, "delivered")
    await logs.wait_for(event="delivery_dropped", job_id=message.job_id)
    assert len(endpoint.requests) == 1
    assert len(callback.requests) == 1


async def test_a_redelivery_of_the_copy_that_settled_repeats_only_the_next_step(
    api: Api, broker: Broker, target: Target, logs: Logs
) -> None:
    """The same message id: the call is not made again; the callback is published again and dropped as a copy."""
    endpoint, callback = target.endpoint(), target.endpoint()
    message = execute(endpoint.url, callback.url)
    message_id = uuid.uuid4().hex
    await broker.publish(EXECUTE, encode(message), message_id=message_id)
    await api.wait_for_record(message.job_id)
    await api.wait_for_callback(message.job_id, "delivered")
    await broker.publish(EXECUTE, encode(message), message_id=message_id)
    dropped = await logs.wait_for(event="delivery_dropped", job_id=message.job_id)
    assert [event["service"] for event in dropped] == ["callback"]
    assert len(endpoint.requests) == 1
    assert len(callback.requests) == 1


async def test_a_redelivered_retry_is_scheduled_again_once(
    api: Api, broker: Broker, target: Target, logs: Logs
) -> None:
    """A crash between settle and publish: the redelivery schedules the retry again, and only one of the copies runs."""
    endpoint, callback = target.endpoint(respond(503, retry_after="1"), respond()), target.endpoint()
    message = execute(endpoint.url, callback.url)
    message_id = uuid.uuid4().hex
    await broker.publish(EXECUTE, encode(message), message_id=message_id)
    await api.wait_for_record(message.job_id)
    await api.wait_for_status(message.job_id, "waiting")
    await asyncio.sleep(0.3)  # a copy that comes while the first one publishes joins it
    await broker.publish(EXECUTE, encode(message), message_id=message_id)
    await api.wait_for_record(message.job_id)
    await api.wait_for_callback(message.job_id, "delivered")
    await logs.wait_for(event="delivery_dropped", job_id=message.job_id)
    assert [request.header("X-Carom-Attempt") for request in endpoint.requests] == ["1", "2"]
    assert len(callback.requests) == 1


async def test_generations(api: Api, broker: Broker, target: Target, logs: Logs) -> None:
    """A higher generation moves the record forward and is called back under its own id; a lower one is dropped."""
    endpoint, callback = target.endpoint(respond(404), respond()), target.endpoint()
    first = execute(endpoint.url, callback.url)
    await broker.publish(EXECUTE, encode(first))
    await api.wait_for_record(first.job_id)
    await api.wait_for_callback(first.job_id, "delivered")
    second = execute(endpoint.url, callback.url, job_id=first.job_id, created_at=first.created_at, generation=2)
    await broker.publish(EXECUTE, encode(second))
    await callback.wait(2)
    document = await api.wait_for_callback(first.job_id, "delivered")
    assert (document["generation"], document["status"], document["attempts"]) == (2, "completed", 1)
    ids = [received.header("webhook-id") for received in callback.requests]
    assert ids == [f"{first.job_id}_1_failed", f"{first.job_id}_2_completed"]

    await broker.publish(EXECUTE, encode(first))
    dropped = await logs.wait_for(event="delivery_dropped", job_id=first.job_id)
    assert dropped[-1]["reason"] == "stale generation"
    stale = called_back(callback.url, job_id=first.job_id)
    await broker.publish(CALLBACK, encode(stale))
    await logs.wait_for(event="delivery_dropped", job_id=first.job_id, service="callback")
    assert len(endpoint.requests) == 2
    assert len(callback.requests) == 2
    assert (await api.typed(first.job_id))["generation"] == 2


async def test_a_higher_attempt_moves_the_record_forward(api: Api, broker: Broker, target: Target, logs: Logs) -> None:
    """Redis lost the writes of two attempts: the message of the third knows better, and the first is stale."""
    endpoint, callback = target.endpoint(), target.endpoint()
    first = execute(endpoint.url, callback.url, eta=now_ms() + 1500)
    history = tuple(Attempt(n, 503, False, rfc3339(now_ms()), error="the target answered 503") for n in (1, 2))
    third = execute(endpoint.url, callback.url, job_id=first.job_id, attempt=3, attempts=history)
    await broker.publish(EXECUTE, encode(first))
    await broker.publish(EXECUTE, encode(third))
    await api.wait_for_record(first.job_id)
    document = await api.wait_for_callback(first.job_id, "delivered")
    assert [entry["statusCode"] for entry in document["attemptsLog"]] == [503, 503, 200]
    await logs.wait_for(event="delivery_dropped", job_id=first.job_id)
    assert [request.header("X-Carom-Attempt") for request in endpoint.requests] == ["3"]


async def test_early_messages_wait_for_their_time(broker: Broker, target: Target) -> None:
    """Held or sent through the buckets again, never early and not much late, executions and callbacks alike."""

    async def run(seconds: float, key: str) -> None:
        endpoint = target.endpoint()
        eta = now_ms() + int(seconds * 1000)
        message = execute(endpoint.url, eta=eta) if key == EXECUTE else called_back(endpoint.url, eta=eta)
        await broker.publish(key, encode(message))
        late = (await endpoint.one()).at * 1000 - eta
        assert late >= 0, f"{key} {seconds} s: early by {-late:.1f} ms"
        assert late < 1000, f"{key} {seconds} s: late by {late:.1f} ms"

    await asyncio.gather(*(run(seconds, key) for seconds in (0.05, 0.5, 1.5, 5) for key in (EXECUTE, CALLBACK)))


async def test_priorities_have_queues_of_their_own(broker: Broker, target: Target) -> None:
    """A retry goes back to the queue that its message came from."""

    async def run(priority: str) -> None:
        endpoint = target.endpoint(respond(503), respond())
        await broker.publish(f"execute.{priority}", encode(execute(endpoint.url)))
        await endpoint.wait(2)

    await asyncio.gather(*map(run, topology.PRIORITIES))


# Losing Redis


async def test_wiping_redis_loses_no_work(api: Api, servers: Servers, target: Target) -> None:
    """Redis, scripts included, is emptied while a retry waits: the job goes on and its callback is complete."""
    endpoint = target.endpoint(respond(503, {"n": 1}), respond(502, {"n": 2}, delay=0.3), respond(200, {"n": 3}))
    callback = target.endpoint()
    store = redis.asyncio.from_url(servers.redis.url)
    try:
        job_id = await api.submit(endpoint.url, callback.url, retryDelay=500, retry={"strategy": "fixed"})
        await api.wait_for_status(job_id, "waiting")
        await store.flushall()
        await store.script_flush()
        assert (await api.http.get(f"/api/jobs/{job_id}")).status_code == 404
        await endpoint.wait(2)
        await store.flushall()
        result = (await callback.one()).json
    finally:
        await store.aclose()
    assert (result["status"], result["attempts"]) == ("completed", 3)
    assert result["response"] == {"status": 200, "body": {"n": 3}}
    assert [entry["response"] for entry in result["attemptsLog"]] == [{"n": 1}, {"n": 2}, {"n": 3}]
    document = await api.wait_for_callback(job_id, "delivered")
    assert [entry["statusCode"] for entry in document["attemptsLog"]] == [503, 502, 200]
    assert len(endpoint.requests) == 3


# Crash loops


async def crash_loop(broker: Broker, url: str, queue: str, crashed: str) -> None:
    """Takes the one message of a queue and gives it back until the broker has taken it away."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        looped = await channel.get_queue(queue, ensure=False)
        count = 0

        async def give_back(message: AbstractIncomingMessage) -> None:
            nonlocal count
            count += 1
            await message.nack(requeue=True)

        async def taken_away() -> bool:
            return await ready_in(broker, crashed) == 1

        await looped.consume(give_back)
        await eventually(taken_away, f"the message arrives in {crashed}", within=60, interval=0.1)
        assert DELIVERY_LIMIT <= count <= DELIVERY_LIMIT + 1


async def test_a_job_in_a_crash_loop_fails(
    api: Api, stack: Stack, servers: Servers, broker: Broker, target: Target
) -> None:
    """Delivered beyond the limit without an outcome: failed, dead-lettered and called back, and the target spared."""
    endpoint, callback = target.endpoint(), target.endpoint()
    async with stopped(stack, "executor"):
        job_id = await api.submit(endpoint.url, callback.url)
        await crash_loop(broker, servers.rabbitmq.url, "carom.execute.normal", "carom.crashed.execute")
    result = (await callback.one()).json
    assert (result["status"], result["response"]) == ("failed", None)
    assert "crash-loop" in result["error"]
    letter = await broker.dead(DEAD_EXECUTE_QUEUE, job_id)
    assert "crash-loop" in str(letter.headers["reason"])
    document = await api.wait_for_callback(job_id, "delivered")
    assert document["status"] == "failed"
    assert endpoint.requests == []


async def test_claims_without_an_outcome_are_a_crash_loop_too(
    api: Api, stack: Stack, servers: Servers, target: Target
) -> None:
    """A process that dies in the call leaves a lease, and its message is put back: the broker's count begins anew."""
    endpoint, callback = target.endpoint(), target.endpoint()
    async with stopped(stack, "executor"), redis.asyncio.Redis.from_url(servers.redis.url) as store:
        job_id = await api.submit(endpoint.url, callback.url)
        await store.hset(f"carom:{{{job_id}}}:state", "claims", DELIVERY_LIMIT)
    assert "crash-loop" in (await callback.one()).json["error"]
    assert endpoint.requests == []


async def test_a_crash_loop_waits_for_the_lease_of_the_last_that_crashed(
    api: Api, stack: Stack, servers: Servers, broker: Broker, target: Target
) -> None:
    """Put back into the work queue, the message would begin another thousand deliveries."""
    endpoint, callback = target.endpoint(), target.endpoint()
    async with stopped(stack, "executor"), redis.asyncio.Redis.from_url(servers.redis.url) as store:
        job_id = await api.submit(endpoint.url, callback.url)
        await crash_loop(broker, servers.rabbitmq.url, "carom.execute.normal", "carom.crashed.execute")
        lease: dict[Any, Any] = {"owner": "somebody/else", "lease": now_ms() + 6000}
        await store.hset(f"carom:{{{job_id}}}:state", mapping=lease)
    assert "crash-loop" in (await callback.one()).json["error"]
    assert endpoint.requests == []


async def test_a_callback_in_a_crash_loop_is_dead_lettered(
    api: Api, stack: Stack, servers: Servers, broker: Broker, target: Target
) -> None:
    """The job keeps its outcome; the callback is failed and in its dead queue."""
    callback = target.endpoint()
    async with stopped(stack, "callback"):
        job_id = await api.submit(target.endpoint().url, callback.url)
        await api.wait_for_status(job_id, "completed")
        await crash_loop(broker, servers.rabbitmq.url, "carom.callback", "carom.crashed.callback")
    letter = await broker.dead(DEAD_CALLBACK_QUEUE, job_id)
    assert "crash-loop" in str(letter.headers["reason"])
    document = await api.wait_for_callback(job_id)
    assert (document["status"], document["callback"]["status"]) == ("completed", "failed")
    assert callback.requests == []


# Topology


def listed(servers: Servers, what: str, *columns: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        servers.rabbitmq.ctl("--quiet", "--formatter", "json", f"list_{what}", *columns)
    )
    return rows


async def test_the_declared_topology(stack: Stack, servers: Servers) -> None:
    """The broker has what topology.py says, argument by argument, and no queue besides."""
    queues, exchanges, bindings = await asyncio.gather(
        asyncio.to_thread(listed, servers, "queues", "name", "durable", "auto_delete", "arguments"),
        asyncio.to_thread(listed, servers, "exchanges", "name", "type", "durable"),
        asyncio.to_thread(listed, servers, "bindings", "source_name", "destination_name", "routing_key"),
    )
    found = {queue["name"]: arguments_of(queue) for queue in queues}
    assert found == {queue.name: {**queue.arguments, "x-queue-type": "quorum"} for queue in topology.QUEUES}
    assert all(queue["durable"] and not queue["auto_delete"] for queue in queues)
    ours = {e["name"]: (e["type"], e["durable"]) for e in exchanges if e["name"].startswith("carom")}
    assert ours == dict.fromkeys(("carom.work", "carom.delay", "carom.dead"), ("topic", True))
    bound = {(b["source_name"], b["destination_name"], b["routing_key"]) for b in bindings if b["source_name"]}
    assert bound == {(q.exchange, q.name, q.binding) for q in topology.QUEUES}


def arguments_of(queue: dict[str, Any]) -> dict[str, Any]:
    arguments = queue["arguments"]
    return dict(arguments) if isinstance(arguments, dict) else {row[0]: row[-1] for row in arguments}


async def test_the_topology_is_the_design_s() -> None:
    """What the design fixes, spelled out once more: a change here needs a migration."""
    at_least_once: dict[str, Any] = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    work: dict[str, Any] = {"x-dead-letter-exchange": "carom.dead", "x-delivery-limit": 1000} | at_least_once
    queues = {queue.name: queue for queue in topology.QUEUES}
    for priority in ("high", "normal", "low"):
        queue = queues[f"carom.execute.{priority}"]
        assert (queue.exchange, queue.binding) == ("carom.work", f"execute.{priority}.#")
        assert queue.arguments.items() >= work.items()
    assert queues["carom.callback"].arguments.items() >= work.items()
    for bucket in BUCKETS:
        queue = queues[f"carom.delay.{bucket}"]
        assert (queue.exchange, queue.binding) == ("carom.delay", f"*.*.{bucket}")
        assert queue.arguments == at_least_once | {"x-dead-letter-exchange": "carom.work", "x-message-ttl": bucket}
    for name in ("carom.dead.execute", "carom.dead.callback", "carom.parked"):
        assert queues[name].exchange == "carom.dead"
        assert queues[name].arguments == {}
    assert not any("x-max-length" in argument for queue in topology.QUEUES for argument in queue.arguments)


async def test_a_deleted_queue_comes_back(api: Api, broker: Broker, target: Target) -> None:
    """An operator's slip: the queue is declared anew, and a job that is accepted afterwards runs."""
    await broker.channel.queue_delete("carom.execute.normal")
    endpoint = target.endpoint()

    async def accepted() -> bool:
        answer = await api.post({"targetUrl": endpoint.url, "callbackUrl": None})
        assert answer.status_code in (202, 503), answer.text
        return answer.status_code == 202

    started = time.monotonic()
    await eventually(accepted, "a job is accepted again", interval=0.2)
    await endpoint.one()
    assert time.monotonic() - started < 20
