"""Network namespaces on one switch, and walls between them: partitions as kernels have them. Needs root.

Each is held by a process of ours, and goes with it: when we are killed nothing is left on the machine.
"""

import os
import random
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.errors import DevstackError
from devstack.process import Process, clean_environment, wait_until
from devstack.server import Place

_TOOLS = ("unshare", "nsenter", "ip", "iptables")


def obstacle() -> str | None:
    """Why there can be none on this machine."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    return f"network namespaces need {', '.join(missing)}" if missing else None


class Namespace:
    """One network, with an address of its own on the switch, and more of them where asked for."""

    def __init__(self, hosts: list[str], held: Process) -> None:
        self.hosts = hosts
        self._held = held

    @property
    def place(self) -> Place:
        return Place(self.hosts[0], ("nsenter", f"--net=/proc/{self._held.pid}/ns/net", "--"))

    def run(self, *command: str) -> None:
        _run(*self.place.within, *command)

    def wall_off(self, host: str) -> None:
        """From now on nothing passes between us and this address: no refusal, no reset, no end."""
        self.run("iptables", "--append", "INPUT", "--source", host, "--jump", "DROP")
        self.run("iptables", "--append", "OUTPUT", "--destination", host, "--jump", "DROP")

    def wall_off_own(self, own: str) -> None:
        """The same for all who speak to one of our own addresses."""
        self.run("iptables", "--append", "INPUT", "--destination", own, "--jump", "DROP")
        self.run("iptables", "--append", "OUTPUT", "--source", own, "--jump", "DROP")

    def open(self) -> None:
        """Tear all walls down."""
        self.run("iptables", "--flush")


class Switch:
    """`with Switch() as switch`, then `switch.namespace()`; this machine is on it too."""

    def __init__(self) -> None:
        if why := obstacle():
            raise DevstackError(why)
        self._held: list[Process] = []
        self._next = 1
        # Addresses for measuring networks (RFC 2544): no real one has them. A net of 256 of its own for each switch.
        self._net = ""
        self._name = f"cs{os.getpid() % 100_000}x{random.randrange(1000)}"

    @property
    def host(self) -> str:
        """Our own address on it."""
        return f"{self._net}.254"

    def namespace(self, addresses: int = 1) -> Namespace:
        number = self._next
        hosts = [f"{self._net}.{number + n}" for n in range(addresses)]
        self._next += addresses
        held = self._hold()
        made = Namespace(hosts, held)
        port = f"port{number}"
        self._within("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(held.pid))
        self._within("ip", "link", "set", port, "master", "switch", "up")
        for host in hosts:
            made.run("ip", "address", "add", f"{host}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            made.run("ip", "link", "set", device, "up")
        return made

    def __enter__(self) -> Self:
        try:
            held = self._hold()
            self._within("ip", "link", "add", "switch", "type", "bridge")
            self._within("ip", "link", "set", "switch", "up")
            taken = subprocess.run(["ip", "-4", "address"], check=True, capture_output=True, text=True).stdout
            nets = [f"198.{high}.{low}" for high in (18, 19) for low in range(256)]
            self._net = random.choice([net for net in nets if f" {net}." not in taken])
            _run("ip", "link", "add", self._name, "type", "veth", "peer", "name", "uplink", "netns", str(held.pid))
            self._within("ip", "link", "set", "uplink", "master", "switch", "up")
            _run("ip", "address", "add", f"{self.host}/24", "dev", self._name)
            _run("ip", "link", "set", self._name, "up")
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._release()

    def _hold(self) -> Process:
        held = Process("network", ["unshare", "--net", "sleep", "infinity"], clean_environment(), Path(os.devnull))
        held.spawn()
        self._held.append(held)
        ours = Path("/proc/self/ns/net").readlink()
        if not wait_until(lambda: Path(f"/proc/{held.pid}/ns/net").readlink() != ours, 10, 0.01):
            raise DevstackError("no network namespace can be had")
        return held

    def _within(self, *command: str) -> None:
        _run("nsenter", f"--net=/proc/{self._held[0].pid}/ns/net", "--", *command)

    def _release(self) -> None:
        for held in reversed(self._held):
            held.kill()
        self._held.clear()


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise DevstackError(f"{' '.join(command)} failed: {result.stderr.strip()}")
