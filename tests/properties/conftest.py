"""A stack for the state machine: two replicas of every service, a RabbitMQ and a Redis of their own; and the profile
`long`, for `--hypothesis-profile=long`.
"""

import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from tests.properties.example import Example
from tests.properties.replicas import Replicas
from tests.support.servers import STACK_ENV, Servers, start_servers
from tests.support.witness import LoopThread, Witness

from devstack.services import KINDS, Stack

# Real services take their time, and what depends on it is never twice the same: nothing is shrunk.
settings.register_profile(
    "long",
    max_examples=20,
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    print_blob=False,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    yield from start_servers(tmp_path_factory.mktemp("promises"))


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    with LoopThread() as thread, Witness(thread) as made:
        yield made


@pytest.fixture(scope="module")
def replicas(servers: Servers) -> Iterator[Replicas]:
    commands = {kind: [sys.executable, "-m", "tests.support.brisk", kind] for kind in KINDS}
    stack = Stack(
        servers.rabbitmq.url,
        servers.redis.url,
        log=servers.directory / "log",
        env=STACK_ENV,
        replicas=dict.fromkeys(KINDS, 2),
        commands=commands,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the log tells steps, not requests
    with stack:
        made = Replicas(stack)
        yield made
        made.close()


@pytest.fixture(scope="module")
def ended() -> list[Example]:
    """The examples of the module, for what is looked at when all of them are over."""
    return []
