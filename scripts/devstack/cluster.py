"""Three RabbitMQ nodes as one cluster, each in a network of its own; configured as k8s/rabbitmq does it. Needs root."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.errors import DevstackError
from devstack.namespaces import Namespace, Switch
from devstack.ports import free_port
from devstack.process import wait_until
from devstack.servers import RabbitMQ

# What k8s/rabbitmq/cluster.yaml and its operator set.
_SETTINGS: Mapping[str, str | int] = {
    "cluster_partition_handling": "pause_minority",
    "queue_leader_locator": "balanced",
    "loopback_users": "none",
    "cluster_formation.peer_discovery_backend": "classic_config",
}
_START_SECONDS = 180.0
"""A node takes long to come back with some seventy queues where others keep the processors busy."""
_RUNNING = "[N || N <- [node() | nodes()], rpc:call(N, rabbit, is_running, [], 2000) =:= true]."
# Seconds after which a node that is silent counts as gone; Erlang's own 60 would make every partition a long one.
_TICK_SECONDS = 8


class RabbitMQCluster:
    """`with RabbitMQCluster(directory) as cluster`: all nodes run, and know each other."""

    def __init__(self, directory: Path, *, size: int = 3, settings: Mapping[str, str | int] | None = None) -> None:
        self.directory = directory
        self.nodes: list[RabbitMQ] = []
        self._networks: list[Namespace] = []
        self._switch = Switch()
        self._size = size
        self._settings = dict(settings or {})

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where clients find each node."""
        return [(node.place.host, node.port) for node in self.nodes]

    def cut_off(self, node: RabbitMQ) -> None:
        """Nothing passes any more between this node and the others. Clients reach all of them."""
        network = self._networks[self.nodes.index(node)]
        for other in self.nodes:
            if other is not node:
                network.wall_off(other.place.host)

    def isolate(self, node: RabbitMQ) -> None:
        """Nothing passes any more between this node and anybody: others or clients."""
        self._networks[self.nodes.index(node)].wall_off_own(node.place.host)

    def heal(self) -> None:
        for network in self._networks:
            network.open()

    def await_all(self, seconds: float = 60) -> None:
        """Until all nodes that run see each other again."""
        if not wait_until(lambda: len(self._running_nodes()) == self._size, seconds, 0.5):
            raise DevstackError(f"RabbitMQ: only {self._running_nodes()} are in the cluster after {seconds:.0f} s")

    def leaders(self) -> dict[str, RabbitMQ]:
        """By queue, the node that leads it; a queue without a leader is missing."""
        asked = next(node for node in self.nodes if node.alive)
        lines = asked.ctl("list_queues", "--silent", "--online", "name", "leader").splitlines()
        by_name = {node.node: node for node in self.nodes}
        found = (line.split("\t") for line in lines if "\t" in line)
        return {queue: by_name[leader] for queue, leader in found if leader in by_name}

    def __enter__(self) -> Self:
        self._switch.__enter__()
        try:
            self._networks = [self._switch.namespace() for _ in range(self._size)]
            hosts = [network.hosts[0] for network in self._networks]
            settings = {**_SETTINGS, "cluster_formation.classic_config.nodes.1": f"carom@{hosts[0]}", **self._settings}
            epmd_port = free_port()
            for number, network in enumerate(self._networks, 1):
                directory = self.directory / f"node{number}"
                _share_cookie(directory)
                node = RabbitMQ(
                    directory,
                    settings=settings,
                    place=network.place,
                    epmd_port=epmd_port,
                    kernel={"net_ticktime": _TICK_SECONDS},
                )
                node.start_seconds = _START_SECONDS
                self.nodes.append(node)
            # All join the first one, which must be up: who waits for it holds the lock that it needs.
            self.nodes[0].start()
            with ThreadPoolExecutor(self._size) as pool:
                for started in [pool.submit(node.start) for node in self.nodes[1:]]:
                    started.result()
            self.await_all()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

    def _running_nodes(self) -> list[str]:
        """On which RabbitMQ runs, as the first of them sees it: a node that paused itself is none."""
        found = self.nodes[0].ctl("eval", _RUNNING)
        return [node.node for node in self.nodes if node.node in found]

    def _end(self) -> None:
        """No node can stop in order without the others, and nobody needs the data any more."""
        for node in self.nodes:
            node.kill()
        self._switch.__exit__(None, None, None)


def _share_cookie(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    cookie = directory / ".erlang.cookie"
    cookie.write_text("carom-cluster")
    cookie.chmod(0o400)
