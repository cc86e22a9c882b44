"""A stage on which everybody is far from everybody: a link between each pair, and names that a name server knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.chaos.stage import Stage
from tests.support.link import Link
from tests.support.names import NameServer
from tests.support.witness import LoopThread, Witness

from devstack.namespaces import obstacle
from devstack.servers import RabbitMQ
from devstack.services import KINDS, Service

HEARTBEAT = 5
"""Seconds. The services' own, 20, would be waited for twice."""
NEAR, ELSEWHERE = "127.0.54.1", "127.0.54.2"
DOMAIN = "carom.test"
OF_THE_TARGET = "target.test"
"""Every name in it is the target's."""


class FarWitness(Witness):
    """Reached by way of two links."""

    def __init__(self, thread: LoopThread) -> None:
        super().__init__(thread)
        self.target_base = self.receiver_base = ""

    def target(self, plan: str, by: str = "attempt") -> str:
        return f"{self.target_base}/{by}/{plan}"

    def receiver(self, plan: str = "200") -> str:
        return f"{self.receiver_base}/callback/{plan}"


class FarStage(Stage):
    """`links` by whom they lead to and who takes them: (broker or store, kind of service), (target, executor),
    (receiver, callback). The services know all ends by name where there is a name server, which needs root.
    """

    env: ClassVar[Mapping[str, str]] = {
        # An outage of a receiver is to be survived, and one of a target not to be waited for long after.
        "CAROM_CALLBACK_DELAYS": "0.2,0.4,0.8,1.6,3.2,6.4,12.8,25.6",
        "CAROM_CALLBACK_TIMEOUT": "5",
        "CAROM_CIRCUIT_OPEN": "1",
    }

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.far = FarWitness(self.thread)
        self.witness = self.far
        self.rabbitmq = RabbitMQ(directory / "rabbitmq", settings={"heartbeat": HEARTBEAT})
        self.links: dict[tuple[str, str], Link] = {}
        self.name_server: NameServer | None = None

    def start_servers(self) -> None:
        super().start_servers()
        host, _, port = self.witness.base.removeprefix("http://").partition(":")
        witness = (host, int(port))
        ends = {
            **{("broker", kind): ("127.0.0.1", self.rabbitmq.port) for kind in KINDS},
            **{("store", kind): ("127.0.0.1", self.redis.port) for kind in KINDS},
            ("target", "executor"): witness,
            ("receiver", "callback"): witness,
        }
        for pair, server in ends.items():
            link = Link(self.thread, server, host=NEAR)
            self.links[pair] = self._exits.enter_context(link)
        if obstacle() is None:
            self.name_server = self._exits.enter_context(NameServer(self.thread, self.directory))
            self.tell_names()
        self.far.target_base = f"http://{self.address(('target', 'executor'))}"
        self.far.receiver_base = f"http://{self.address(('receiver', 'callback'))}"

    def tell_names(self) -> None:
        """Let the name server know where each link is now."""
        assert self.name_server is not None
        zone = {_name(pair): [[link.host]] for pair, link in self.links.items()}
        target = self.links["target", "executor"]
        self.name_server.names.begin(zone | {f"*.{OF_THE_TARGET}": [[target.host]]})

    def address(self, pair: tuple[str, str]) -> str:
        link = self.links[pair]
        return f"{_name(pair) if self.name_server else link.host}:{link.port}"

    def between(self, *servers: str) -> list[Link]:
        return [link for (server, _), link in self.links.items() if server in servers]

    def begin(self, seed: str = "") -> None:
        super().begin(seed)
        for pair, link in self.links.items():
            link.sow(f"{seed} {pair}")
            link.heal()

    def furnish(self, service: Service) -> None:
        service.env |= {
            "RABBITMQ_URL": f"amqp://guest:guest@{self.address(('broker', service.kind))}/",
            "REDIS_URL": f"redis://{self.address(('store', service.kind))}/0",
        }
        if self.name_server:
            service.command = self.name_server.command(service.kind)


def _name(pair: tuple[str, str]) -> str:
    return f"{'-'.join(pair)}.{DOMAIN}"
