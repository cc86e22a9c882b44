"""A stack of its own: encrypted at rest, keys for its callers, signing keys by tenant; and what is planted in it."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.support.broker import Broker
from tests.support.client import Api
from tests.support.logs import Logs

from carom_common.domain.signatures import new_private_key
from carom_intake.domain.keys import NewKey, Scope, new_key
from devstack.servers import RabbitMQ, Redis
from devstack.services import Stack

ADMIN = new_key("admin", "default", [Scope.ADMIN])
BLIND = new_key("blind", "default", [Scope.JOBS_WRITE, Scope.JOBS_READ, Scope.OPERATE])
"""Does everything to jobs, and sees nothing of what they send and get."""
SHOP = new_key("shop", "shop", [Scope.ADMIN])

SEALING = "s1:" + base64.b64encode(b"1" * 32).decode()
HMAC = "whsec_" + base64.b64encode(b"everybody's secret, 32 bytes long").decode()
SHOP_HMAC = "whsec_" + base64.b64encode(b"the shop's secret, 32 bytes long").decode()
SHOP_PRIVATE, SHOP_PUBLIC = new_private_key()


class Vaulted(NamedTuple):
    """The stack, its servers, and its files."""

    stack: Stack
    rabbitmq: RabbitMQ
    redis: Redis
    logs: Logs
    signing_file: Path

    @property
    def env(self) -> dict[str, str]:
        """For one more service."""
        return {"RABBITMQ_URL": self.rabbitmq.url, "REDIS_URL": self.redis.url}


def signing_text(**tenants: list[str]) -> str:
    return json.dumps({"*": [HMAC], **tenants})


@pytest.fixture(scope="session")
def vaulted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vaulted]:
    directory = tmp_path_factory.mktemp("vaulted")
    keys, signing = directory / "keys.json", directory / "signing.json"
    keys.write_text(json.dumps({"keys": [msgspec.to_builtins(made.key) for made in (ADMIN, BLIND, SHOP)]}))
    signing.write_text(signing_text(shop=[SHOP_HMAC, SHOP_PRIVATE]))
    env = {
        "CAROM_LOG_FORMAT": "json",
        "CAROM_LOG_LEVEL": "debug",
        "CAROM_CALLBACK_DELAYS": "0.1",
        "CAROM_SHUTDOWN_TIMEOUT": "10",
        "CAROM_CIRCUIT_FAILURES": "0",
        "CAROM_AUTH": "keys",
        "CAROM_KEYS_FILE": str(keys),
        "CAROM_SIGNING_FILE": str(signing),
        "CAROM_ENCRYPTION_KEYS": SEALING,
        "CAROM_SENSITIVE_HEADERS": "X-Customer, X-Internal-*",
    }
    with (
        RabbitMQ(directory / "rabbitmq") as rabbitmq,
        # As it is: a search through its files must not fail for compression.
        Redis(directory / "redis", settings={"rdbcompression": "no"}) as redis,
        Stack(rabbitmq.url, redis.url, log=directory / "services", env=env) as stack,
    ):
        yield Vaulted(stack, rabbitmq, redis, Logs(directory / "services"), signing)


Client = Callable[[NewKey], Api]


@pytest.fixture
async def client(vaulted: Vaulted) -> AsyncIterator[Client]:
    made: list[Api] = []

    def api(key: NewKey) -> Api:
        made.append(Api(vaulted.stack.api))
        made[-1].http.headers["Authorization"] = f"Bearer {key.token}"
        return made[-1]

    yield api
    for one in made:
        await one.aclose()


@pytest.fixture(scope="session")
async def letters(vaulted: Vaulted) -> AsyncIterator[Broker]:
    """The dead queues, as they fill."""
    client = await Broker.connect(vaulted.rabbitmq.url)
    yield client
    await client.close()
