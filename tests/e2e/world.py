"""What lies outside the cluster, as `scripts/e2e` says it in the environment, and a listening socket there."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class World:
    """Empty is what a cluster does not have: tests that need it are skipped by name."""

    tag: str
    """Of the three images, which every node has."""
    address: str
    """Where pods reach the socket of `listen`."""
    name: str = ""
    """Its name in the cluster's DNS."""
    private: list[str] = field(default_factory=list)
    """More addresses of it, which no job may call."""
    command: list[str] = field(default_factory=list)
    """Runs a command there."""
    power: list[str] = field(default_factory=list)
    """With `stop NODE` and `start NODE`, powers a node off and on."""
    ingress: str = ""
    """URL of the ingress controller. Without one the API is reached through a port of the nodes."""
    ingress_namespace: str = ""

    @classmethod
    def from_environment(cls) -> Self:
        def words(name: str) -> list[str]:
            return os.environ.get(name, "").split()

        return cls(
            os.environ["E2E_TAG"],
            os.environ["E2E_WORLD"],
            os.environ.get("E2E_WORLD_NAME", ""),
            words("E2E_PRIVATE"),
            words("E2E_WORLD_COMMAND"),
            words("E2E_POWER"),
            os.environ.get("E2E_INGRESS", ""),
            os.environ.get("E2E_INGRESS_NAMESPACE", ""),
        )

    def listen(self) -> socket.socket:
        """A socket that listens on all addresses out there, for this very process to serve."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [*self.command, sys.executable, __file__, str(theirs.fileno())]
            subprocess.run(command, pass_fds=[theirs.fileno()], check=True, timeout=20)
            _, [number], _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=number)


def hand_over(number: int) -> None:
    """Opens the socket where this process runs and hands it to its parent."""
    port = 80 if os.environ.get("E2E_WORLD_COMMAND") else 0
    with socket.socket(fileno=number) as parent, socket.create_server(("0.0.0.0", port), backlog=4096) as server:
        socket.send_fds(parent, [b"."], [server.fileno()])


if __name__ == "__main__":
    hand_over(int(sys.argv[1]))
