"""A RabbitMQ and a Redis for tests that break things, the stacks on them, and what is left in their queues."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from devstack.paths import ROOT
from devstack.process import wait_until
from devstack.servers import RabbitMQ, Redis
from devstack.services import Stack

STACK_ENV = {
    "CAROM_CALLBACK_DELAYS": "0.2,0.2,0.2,1,1,1,1",
    "PYTHONPATH": str(ROOT),  # a service may be started through tests.support.crashing
}


def depths(rabbitmq: RabbitMQ) -> dict[str, int]:
    """Messages in every queue that has any, those out for delivery included."""
    lines = rabbitmq.ctl("list_queues", "--silent", "name", "messages").splitlines()
    counts = (line.split("\t") for line in lines if "\t" in line)
    return {name: int(count) for name, count in counts if count.isdigit() and int(count)}


def working(depths: Mapping[str, int]) -> dict[str, int]:
    """Messages that still have something before them: all but the dead letters."""
    return {name: count for name, count in depths.items() if not name.startswith("carom.dead.")}


def work_left(rabbitmq: RabbitMQ) -> dict[str, int]:
    return working(depths(rabbitmq))


class Servers(NamedTuple):
    rabbitmq: RabbitMQ
    redis: Redis
    directory: Path

    def stack(self, name: str, replicas: Mapping[str, int] | None = None) -> Stack:
        return Stack(
            self.rabbitmq.url, self.redis.url, log=self.directory / f"log-{name}", env=STACK_ENV, replicas=replicas
        )

    def depths(self) -> dict[str, int]:
        return depths(self.rabbitmq)


def start_servers(directory: Path) -> Iterator[Servers]:
    with RabbitMQ(directory / "rabbitmq") as rabbitmq, Redis(directory / "redis") as redis:
        yield Servers(rabbitmq, redis, directory)


def assert_no_work_left(servers: Servers) -> None:
    assert wait_until(lambda: not work_left(servers.rabbitmq), 30, 0.5), (
        f"queues are not empty: {work_left(servers.rabbitmq)}"
    )
