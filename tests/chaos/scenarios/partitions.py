"""Walls in the kernel between services and servers: no refusal, no reset, no end. Needs root."""

import itertools
import time
from pathlib import Path
from random import Random
from typing import cast

from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage

from devstack.namespaces import Namespace, Switch, obstacle
from devstack.ports import free_port
from devstack.servers import RabbitMQ, Redis
from devstack.services import KINDS, Service

GROUP = "partitions"

HEARTBEAT = 5
WALL_SECONDS = 12.0
"""Longer than anybody waits for an answer, or for two heartbeats."""


class ApartStage(Stage):
    """RabbitMQ and Redis are in networks of their own, with an address for each kind of service."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.networks: dict[str, Namespace] = {}

    def start_servers(self) -> None:
        switch = self._exits.enter_context(Switch())
        broker, store = (switch.namespace(len(KINDS)) for _ in range(2))
        self.networks = {"broker": broker, "store": store}
        self.rabbitmq = RabbitMQ(
            self.directory / "rabbitmq",
            settings={"heartbeat": HEARTBEAT, "loopback_users": "none"},
            place=broker.place,
            hosts=broker.hosts,
            epmd_port=free_port(),
        )
        everywhere = {"bind": " ".join(store.hosts), "protected-mode": "no"}
        self.redis = Redis(self.directory / "redis", settings=everywhere, place=store.place)
        super().start_servers()

    def furnish(self, service: Service) -> None:
        broker, store = (self.address(server, service.kind) for server in ("broker", "store"))
        service.env |= {
            "RABBITMQ_URL": f"amqp://guest:guest@{broker}:{self.rabbitmq.port}/",
            "REDIS_URL": f"redis://{store}:{self.redis.port}/0",
        }

    def address(self, server: str, kind: str) -> str:
        return self.networks[server].hosts[KINDS.index(kind)]


def walls(stage: Stage, rng: Random, seconds: float) -> None:
    """One kind of service is cut off from RabbitMQ and one from Redis, or both the same, at once; each with each."""
    apart = cast(ApartStage, stage)
    end = time.monotonic() + seconds
    pairs = list(itertools.product(KINDS, repeat=2))
    rng.shuffle(pairs)
    for kinds in itertools.cycle(pairs):
        with apart.fault("partition", "intake" if set(kinds) == {"intake"} else ""):
            for server, kind in zip(("broker", "store"), kinds, strict=True):
                apart.networks[server].wall_off_own(apart.address(server, kind))
            time.sleep(min(seconds, WALL_SECONDS + rng.uniform(0, 3)))
            for network in apart.networks.values():
                network.open()
        apart.await_ready()
        if time.monotonic() > end:
            return


SCENARIOS = [
    # Long enough for each pair.
    Scenario(GROUP, "walls", walls, WALL_SECONDS, 150, ApartStage, recovers=60, obstacle=obstacle())
]
