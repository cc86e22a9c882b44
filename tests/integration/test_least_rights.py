"""The broker users of k8s/rabbitmq: each service does its part with its own, and cannot do another's."""

import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused
from tests.integration.conftest import ENV, Servers
from tests.support import rights
from tests.support.broker import Broker
from tests.support.client import Api
from tests.support.target import Target, respond

from carom_common.adapters.amqp.connection import connect
from carom_common.adapters.amqp.errors import BrokerError
from carom_common.topology import (
    CALLBACK_KEY,
    CALLBACK_QUEUE,
    CRASHED_CALLBACK_QUEUE,
    CRASHED_EXECUTE_QUEUE,
    DEAD,
    DEAD_CALLBACK_QUEUE,
    DEAD_EXECUTE_QUEUE,
    DELAY,
    EXECUTE_QUEUES,
    HELD_EXECUTE_QUEUE,
    PARKED_QUEUE,
    QUEUES,
    WORK,
    execute_key,
)
from devstack.paths import service_command
from devstack.process import clean_environment
from devstack.services import KINDS, Stack

pytestmark = pytest.mark.stack

VHOST = "carom"
FAST = {"retryDelay": 100, "retry": {"strategy": "fixed"}}


@pytest.fixture(scope="module")
def url(servers: Servers) -> Callable[[str], str]:
    """The broker's URL for a user, once users, rights, policies and topology are there as in production."""
    rights.declare_users(servers.rabbitmq, servers.directory)
    servers.rabbitmq.ctl("set_permissions", "--vhost", VHOST, "guest", ".*", ".*", ".*")

    def of(user: str) -> str:
        credentials = "guest:guest" if user == "guest" else f"{user}:{rights.password(user)}"
        return f"amqp://{credentials}@127.0.0.1:{servers.rabbitmq.port}/{VHOST}"

    environment = clean_environment("CAROM_", "RABBITMQ_", "REDIS_") | {"RABBITMQ_URL": of("carom-topology")}
    declared = subprocess.run(
        [str(service_command("intake")), "declare-topology"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert declared.returncode == 0, declared.stdout + declared.stderr
    assert "topology_declared" in declared.stdout
    return of


@pytest.fixture(scope="module")
def own_stack(url: Callable[[str], str], servers: Servers) -> Iterator[Stack]:
    """Three services, each with its own user; none declares anything."""
    with Stack(
        url("carom-intake"),
        servers.redis.url,
        log=servers.directory / "least-rights",
        env=ENV | {"CAROM_DECLARE_TOPOLOGY": "false"},
        service_env={kind: {"RABBITMQ_URL": url(f"carom-{kind}")} for kind in KINDS},
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
async def admin(own_stack: Stack, url: Callable[[str], str]) -> AsyncIterator[Broker]:
    client = await Broker.connect(url("guest"))
    yield client
    await client.close()


# What they can


async def test_a_job_goes_through_with_retries_of_call_and_callback(own_api: Api, target: Target) -> None:
    """Every publish on the way is allowed: job, retry, callback, its retry."""
    endpoint = target.endpoint(respond(503), respond(200))
    receiver = target.endpoint(respond(500), respond(200))
    job_id = await own_api.submit(endpoint.url, receiver.url, **FAST)
    await receiver.wait(2)
    document = await own_api.wait_for_callback(job_id)
    assert document["status"] == "completed"
    assert document["callback"]["status"] == "delivered"
    assert len(endpoint.requests) == 2


async def test_what_fails_for_good_reaches_both_dead_queues(own_api: Api, target: Target, admin: Broker) -> None:
    receiver = target.endpoint(respond(500))
    job_id = await own_api.submit(target.endpoint(respond(500)).url, receiver.url, maxRetries=0)
    await admin.dead(DEAD_EXECUTE_QUEUE, job_id)
    await admin.dead(DEAD_CALLBACK_QUEUE, job_id)


@pytest.mark.parametrize("key", [execute_key(), CALLBACK_KEY])
async def test_both_consumers_can_park_what_they_cannot_read(admin: Broker, key: str) -> None:
    marker = uuid.uuid4().hex.encode()
    await admin.publish(key, marker)
    assert len(await admin.parked(marker)) == 1


@pytest.mark.parametrize("key", ["crashed.execute", "crashed.callback"])
async def test_both_consumers_read_their_crash_loops(admin: Broker, key: str) -> None:
    marker = uuid.uuid4().hex.encode()
    await admin.publish(key, marker, exchange=DEAD)
    assert len(await admin.parked(marker)) == 1


async def test_the_scaler_can_ask_how_long_queues_are(url: Callable[[str], str], own_stack: Stack) -> None:
    connection = await aio_pika.connect(url("carom-scaler"))
    async with connection:
        channel = await connection.channel()
        for name in (*EXECUTE_QUEUES.values(), HELD_EXECUTE_QUEUE, CALLBACK_QUEUE):
            queue = await channel.declare_queue(name, passive=True)
            assert queue.declaration_result.message_count is not None


def test_the_policy_holds_for_the_dead_queues_alone(url: Callable[[str], str], servers: Servers) -> None:
    lines = servers.rabbitmq.ctl("list_queues", "--vhost", VHOST, "--quiet", "--no-table-headers", "name", "policy")
    policies = dict(line.split("\t") for line in lines.splitlines())
    assert set(policies) == {queue.name for queue in QUEUES}
    governed = {name for name, policy in policies.items() if policy == "carom-dead"}
    assert governed == {DEAD_EXECUTE_QUEUE, DEAD_CALLBACK_QUEUE, PARKED_QUEUE}


# What they cannot

Act = Callable[[AbstractChannel], Awaitable[object]]


def publish(exchange: str, key: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await target.publish(aio_pika.Message(b"{}"), key, mandatory=False)

    return act


def consume(name: str) -> Act:
    async def ignore(_: AbstractIncomingMessage) -> None:
        pass

    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(name, ensure=False)).consume(ignore)

    return act


def get(name: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(name, ensure=False)).get(fail=False)

    return act


def purge(name: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(name, ensure=False)).purge()

    return act


def delete(name: str) -> Act:
    return lambda channel: channel.queue_delete(name)


def declare(name: str) -> Act:
    return lambda channel: channel.declare_queue(name, durable=True)


def declare_exchange(name: str) -> Act:
    return lambda channel: channel.declare_exchange(name, "topic", durable=True)


def bind(name: str, exchange: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(name, ensure=False)).bind(exchange, "#")

    return act


EXECUTE = EXECUTE_QUEUES["normal"]
REFUSED: dict[str, dict[str, Act]] = {
    "carom-intake": {
        "consume jobs": consume(EXECUTE),
        "get jobs": get(EXECUTE),
        "consume callbacks": consume(CALLBACK_QUEUE),
        "read dead letters": get(DEAD_EXECUTE_QUEUE),
        "purge jobs": purge(EXECUTE),
        "delay": publish(DELAY, "execute.normal.1000"),
        "forge dead letters": publish(DEAD, "execute.exhausted"),
    },
    "carom-executor": {
        "consume callbacks": consume(CALLBACK_QUEUE),
        "consume crashed callbacks": consume(CRASHED_CALLBACK_QUEUE),
        "read dead letters": get(DEAD_EXECUTE_QUEUE),
        "read parked messages": get(PARKED_QUEUE),
        "read delayed messages": get("carom.delay.1000"),
        "purge callbacks": purge(CALLBACK_QUEUE),
    },
    "carom-callback": {
        "consume jobs": consume(EXECUTE),
        "consume crashed jobs": consume(CRASHED_EXECUTE_QUEUE),
        "read dead letters": get(DEAD_CALLBACK_QUEUE),
        "submit jobs": publish(WORK, "execute.normal"),
        "purge jobs": purge(EXECUTE),
    },
    "carom-scaler": {
        "consume jobs": consume(EXECUTE),
        "get jobs": get(EXECUTE),
        "purge jobs": purge(EXECUTE),
        "submit jobs": publish(WORK, "execute.normal"),
        "publish to a queue by its name": publish("", EXECUTE),
    },
    "carom-fsck": {
        "consume jobs": consume(EXECUTE),
        "get callbacks": get(CALLBACK_QUEUE),
        "purge jobs": purge(EXECUTE),
        "read parked messages": get(PARKED_QUEUE),
        "delay": publish(DELAY, "execute.normal.1000"),
        "forge dead letters": publish(DEAD, "execute.exhausted"),
        "publish to a queue by its name": publish("", EXECUTE),
    },
    "carom-topology": {
        "declare foreign queues": declare("other"),
        "declare foreign exchanges": declare_exchange("other"),
        "publish to a queue by its name": publish("", EXECUTE),
    },
}
for _user in ("carom-intake", "carom-executor", "carom-callback", "carom-scaler", "carom-fsck"):
    REFUSED[_user] |= {
        "declare a queue": declare("carom.new"),
        "declare an exchange": declare_exchange("carom.new"),
        "delete a queue": delete(EXECUTE),
        "bind a queue": bind(EXECUTE, DEAD),
    }


@pytest.mark.parametrize(
    ("user", "act"),
    [pytest.param(user, act, id=f"{user}: {what}") for user, acts in REFUSED.items() for what, act in acts.items()],
)
async def test_no_user_can_do_what_is_not_its_part(url: Callable[[str], str], user: str, act: Act) -> None:
    connection = await aio_pika.connect(url(user))
    async with connection:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused, match="ACCESS_REFUSED"):
            await act(channel)


async def test_no_user_reaches_another_virtual_host(url: Callable[[str], str]) -> None:
    for user in rights.rights():
        with pytest.raises(BrokerError, match=f"vhost '/' refused for user '{user}'"):
            await connect(url(user).removesuffix(VHOST) + "%2F", "test")


def test_a_user_that_may_not_declare_is_named(url: Callable[[str], str]) -> None:
    """`declare-topology` with the wrong user waits, and says which right is missing."""
    environment = clean_environment("CAROM_", "RABBITMQ_", "REDIS_")
    environment |= {"RABBITMQ_URL": url("carom-intake"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [str(service_command("intake")), "declare-topology"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    assert "waiting_for_broker" in line
    assert "access to exchange 'carom.work' in vhost 'carom' refused for user 'carom-intake'" in line
