"""RabbitMQ as a cluster of three nodes: its leader dies, a minority is cut off, all are restarted. Needs root."""

import itertools
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import cast

from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.link import Address, Link

from carom_common.topology import CALLBACK_QUEUE, QUEUES
from devstack.cluster import RabbitMQCluster
from devstack.namespaces import obstacle
from devstack.process import wait_until
from devstack.servers import RabbitMQ

GROUP = "cluster"

RATE = 20.0
"""Jobs a second: each message goes to three nodes on the same two cores, one of which a node that starts takes."""
LONG = 30.0
"""Seconds of fault from which on a version counts as long: all nodes in turn."""


class ClusterStage(Stage):
    """The services reach the nodes through a balancer, which knows whose process runs, and no more."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.cluster = RabbitMQCluster(directory / "cluster", settings={"heartbeat": 5})
        self.way = Link(self.thread, self._next_node)
        self._turns = itertools.count()

    def start_servers(self) -> None:
        self._exits.enter_context(self.cluster)
        self.rabbitmq = self.cluster.nodes[0]
        self._exits.enter_context(self.redis)
        self._exits.enter_context(self.way)

    def broker_url(self) -> str:
        return f"amqp://guest:guest@{self.way.address}/"

    def leader(self) -> RabbitMQ:
        """The node that leads the queue of callbacks."""
        return self.cluster.leaders()[CALLBACK_QUEUE]

    def await_quorum(self) -> None:
        """Until every queue has a leader, and all nodes lead some or follow."""
        assert wait_until(lambda: len(self.cluster.leaders()) >= len(QUEUES), 60, 0.5), "queues without a leader"

    def _next_node(self) -> Address | None:
        alive = [node for node in self.cluster.nodes if node.alive]
        node = alive[next(self._turns) % len(alive)]
        return node.place.host, node.port


def kill_leader(stage: Stage, _rng: Random, seconds: float) -> None:
    """kill -9 of the node that leads, which comes back later."""
    there = cast(ClusterStage, stage)
    end = time.monotonic() + seconds
    while True:
        victim = there.leader()
        with there.fault("node killed"):
            victim.kill()
            time.sleep(min(seconds, 10))
            victim.start()
        if time.monotonic() > end:
            break
    there.await_quorum()


def cut_off_minority(stage: Stage, _rng: Random, seconds: float) -> None:
    """The leader is cut off from the other nodes, not from clients; in the long version from those too."""
    there = cast(ClusterStage, stage)
    for cut_off in (there.cluster.cut_off, there.cluster.isolate)[: 1 + (seconds >= LONG)]:
        with there.fault("partition"):
            cut_off(there.leader())
            time.sleep(seconds)
            there.cluster.heal()
            there.cluster.await_all()
    there.await_quorum()


def restart_nodes(stage: Stage, _rng: Random, seconds: float) -> None:
    """One node after the other, in good order, each when all queues have a leader; the short version: who leads."""
    there = cast(ClusterStage, stage)
    leads = Counter(node.node for node in there.cluster.leaders().values())
    nodes = sorted(there.cluster.nodes, key=lambda node: -leads[node.node])
    for node in nodes if seconds >= LONG else nodes[:1]:
        with there.fault("node restarted"):
            node.restart()
        there.await_quorum()


SCENARIOS = [
    Scenario(GROUP, "leader-killed", kill_leader, 5, 60, ClusterStage, RATE, recovers=45, obstacle=obstacle()),
    Scenario(GROUP, "minority-cut-off", cut_off_minority, 15, 60, ClusterStage, RATE, recovers=60, obstacle=obstacle()),
    Scenario(GROUP, "rolling-restart", restart_nodes, 0, 60, ClusterStage, RATE, recovers=45, obstacle=obstacle()),
]
