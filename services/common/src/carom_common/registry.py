"""All destinations that a process knows, and what others say of them."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from carom_common.control import Control
from carom_common.hosts import Host
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger

MAX_IDLE_HOSTS = 20_000
STORM_SECONDS = 15.0
"""How long retries are counted before the destination with the most of them is told."""
STORM_PER_SECOND = 2.0

log = get_logger()

W = TypeVar("W")


class Registry(Generic[W]):
    """`on_mended` is called with a host whose circuit another process closed."""

    def __init__(self, control: Control, on_mended: Callable[[Host[W]], None]) -> None:
        self._control = control
        self._on_mended = on_mended
        self._hosts: dict[str, Host[W]] = {}
        self._loop = asyncio.get_running_loop()
        self._looked_at = self._loop.time()
        control.on_opened, control.on_closed, control.on_proven = self._opened, self._closed, self._proven
        control.on_change = self._changed

    def __len__(self) -> int:
        return len(self._hosts)

    def of(self, name: str) -> Host[W]:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name, self._control.rules.of(name))
        return host

    def forget_idle(self) -> None:
        """Keep the number within bounds: those that were not called for longest go."""
        if len(self._hosts) <= MAX_IDLE_HOSTS:
            return
        idle = sorted((host for host in self._hosts.values() if host.idle), key=lambda host: host.used_at)
        for host in idle[: len(self._hosts) - MAX_IDLE_HOSTS // 2]:
            del self._hosts[host.name]

    def open_circuits(self) -> int:
        now = self._loop.time()
        return sum(host.circuit.state(now) != "closed" for host in self._hosts.values())

    def look_for_storms(self, now: float) -> None:
        """Tell, four times a minute, how many calls are to be made again at the destination with the most of them."""
        if (passed := now - self._looked_at) < STORM_SECONDS:
            return
        self._looked_at = now
        worst, most = "", 0
        for host in self._hosts.values():
            if host.retries > most:
                worst, most = host.name, host.retries
            host.retries = 0
        metrics.destination_retries.set(most / passed)
        if most / passed >= STORM_PER_SECOND:
            log.warning("retries_storming", host=worst, per_second=round(most / passed, 1))

    def _opened(self, name: str, ago_ms: int) -> None:
        host, now = self.of(name), self._loop.time()
        rest = host.limits.open_seconds - ago_ms / 1000
        if rest > 0 or host.circuit.state(now) == "closed":
            host.tripped_at = max(host.tripped_at, now - ago_ms / 1000)
            host.circuit.tripped(now + rest)

    def _closed(self, name: str, ago_ms: int) -> None:
        host = self._hosts.get(name)
        if host is not None and host.tripped_at < self._loop.time() - ago_ms / 1000:
            host.circuit.mended()
            host.probe_ready = False
            self._on_mended(host)

    def _proven(self, name: str, ago_ms: int) -> None:
        host = self.of(name)
        host.proven_at = max(host.proven_at, self._loop.time() - ago_ms / 1000)
        host.told_at = max(host.told_at, host.proven_at)

    def _changed(self) -> None:
        for host in self._hosts.values():
            host.limits = self._control.rules.of(host.name)
