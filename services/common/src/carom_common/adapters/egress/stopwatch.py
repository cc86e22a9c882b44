"""Where the time of a call goes and which address answers, noted where a connection comes to be.

aiohttp's own tracing tells neither the TCP connect from the TLS handshake nor the address, and hooks that do nothing
cost 14 us a call, where this costs 4.
"""

import socket
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from msgspec import Struct

from carom_common.contracts.message import Timing


class Stopwatch(Struct, gc=False):
    """Begun with the time of now, twice. Times are those of `perf_counter`, 0 for not yet.

    A redirect begins a new hop; `timing` tells of the last one, but the total of all. Every call has one, so over a
    connection that is there already it costs little more than reading the clock: attributes, and no garbage to trace.
    """

    started: float
    hop: float
    opened: float = 0.0
    connected: float = 0.0
    ready: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    tls: bool = False
    address: str | None = None
    """`ip:port` of the connection; None while there is none."""
    sockets: list[socket.socket] | None = None

    def next_hop(self) -> None:
        self.hop = perf_counter()
        self.answered = 0.0
        self.seek()

    def seek(self) -> None:
        """A connection is looked for once more: for a redirect, or to send it again (http1.py)."""
        self.opened = self.connected = self.ready = 0.0
        self.address = None
        self.tls = False

    def opens(self, sock: socket.socket) -> None:
        """A TCP connect begins; several run side by side where a name has several addresses (RFC 8305)."""
        if not self.opened:
            self.opened = perf_counter()
        self.sockets = [*(self.sockets or ()), sock]

    def connects(self, *, tls: bool) -> None:
        """A TCP connect won, and TLS begins where it is spoken."""
        self.connected = perf_counter()
        self.tls = tls
        self.address = next(filter(None, map(_peer, reversed(self.sockets or ()))), None)
        self.sockets = None

    def timing(self) -> Timing:
        """In milliseconds, of a call that has ended; in steps of 10 us: more digits say nothing and are kept long."""
        hop, opened, ready, answered, ended = self.hop, self.opened, self.ready, self.answered, self.ended
        first_byte = int((answered - ready) * 1e5) / 100 if answered else None
        total = int((ended - self.started) * 1e5) / 100
        if not opened:
            return Timing(int(((ready or ended) - hop) * 1e5) / 100, None, None, first_byte, total)
        connected = self.connected if self.tls else ready
        connect = int((connected - opened) * 1e5) / 100 if connected else None
        tls = int((ready - connected) * 1e5) / 100 if self.tls and ready else None
        return Timing(int((opened - hop) * 1e5) / 100, connect, tls, first_byte, total)


connecting: ContextVar[Stopwatch | None] = ContextVar("carom_egress_connecting", default=None)
"""The stopwatch of the call for which a connection is made: the socket factory is told nothing of the call."""


def shown_address(peer: Any) -> str | None:
    """The `ip:port` of a socket's address."""
    if not peer:
        return None
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"


def _peer(sock: socket.socket) -> str | None:
    try:
        return shown_address(sock.getpeername())
    except OSError:  # it lost the race
        return None
