"""One RabbitMQ, one Redis and one running stack for the whole session, all private and on free ports."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from redis import Redis as Client
from tests.support import acl
from tests.support.broker import Broker
from tests.support.client import Api, connected
from tests.support.logs import Logs
from tests.support.target import Target

from devstack.servers import RabbitMQ, Redis
from devstack.services import KINDS, Stack

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENV = {
    "CAROM_LOG_FORMAT": "json",
    "CAROM_LOG_LEVEL": "debug",
    "CAROM_CALLBACK_DELAYS": "0.1,0.1,0.1",
    "CAROM_CALLBACK_SECRET": SECRET,
    "CAROM_SHUTDOWN_TIMEOUT": "10",
    # Many tests call an address where nobody listens, and expect an answer at once.
    "CAROM_CIRCUIT_FAILURES": "0",
}


class Servers(NamedTuple):
    rabbitmq: RabbitMQ
    redis: Redis
    directory: Path


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    directory = tmp_path_factory.mktemp("servers")
    (directory / "users.acl").write_text(acl.aclfile())
    settings = {"aclfile": str(directory / "users.acl")}
    with (
        RabbitMQ(directory / "rabbitmq", metrics=True) as rabbitmq,
        Redis(directory / "redis", settings=settings) as redis,
    ):
        yield Servers(rabbitmq, redis, directory)


@pytest.fixture(scope="session")
def logs(servers: Servers) -> Logs:
    return Logs(servers.directory / "services")


@pytest.fixture(scope="session")
def stack(servers: Servers, logs: Logs) -> Iterator[Stack]:
    """Each service with its own user of the store: whatever the tests make it do, it has the right to."""
    users = {kind: {"REDIS_URL": acl.url(servers.redis.url, f"carom-{kind}")} for kind in KINDS}
    with (
        Stack(servers.rabbitmq.url, servers.redis.url, log=logs.directory, env=ENV, service_env=users) as stack,
        Client.from_url(servers.redis.url, decode_responses=True) as store,
    ):
        yield stack
        assert logs.events()  # fails where any line is no JSON
        refused = [
            f"{entry['username']}: {entry['object']}" for entry in store.acl_log() if "carom-" in entry["username"]
        ]
        assert refused == []


@pytest.fixture(scope="session")
async def api(stack: Stack) -> AsyncIterator[Api]:
    client = Api(stack.api)
    yield client
    await client.aclose()


@pytest.fixture(scope="module")
async def own_api(own_stack: Stack) -> AsyncIterator[Api]:
    """Of the `own_stack` that a module has."""
    await connected(own_stack.intake)
    client = Api(own_stack.api)
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
async def target() -> AsyncIterator[Target]:
    async with Target() as target:
        yield target


@pytest.fixture(scope="session")
async def broker(stack: Stack, servers: Servers) -> AsyncIterator[Broker]:
    client = await Broker.connect(servers.rabbitmq.url)
    yield client
    await client.close()


@pytest.fixture
def secret() -> str:
    """What callbacks are signed with."""
    return SECRET
