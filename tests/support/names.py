"""A name server whose answers a test writes down: late, none, a failure, other ones each time."""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.support.witness import LoopThread

from devstack.paths import service_command

A, AAAA = 1, 28
ANSWERS, FAILS, UNKNOWN = 0x8180, 0x8182, 0x8183
"""Flags of an answer (RFC 1035, 4.1.1): no error, server failure, no such name."""
PORT = 53
DAYLIGHT = Path("/etc/resolv.conf")

Zone = Mapping[str, Sequence[Sequence[str]]]
"""By name, the addresses in each answer in turn; the last answer repeats. `*.<domain>` is any name in a domain."""
Mood = Literal["answers", "fails", "silent"]


class Names(asyncio.DatagramProtocol):
    """A name server (RFC 1035) that answers A and AAAA from its zone, each after `delay` seconds."""

    def __init__(self) -> None:
        self.zone: Zone = {}
        self.mood: Mood = "answers"
        self.delay = 0.0
        self.slow_names: tuple[str, ...] = ()
        """Ends of names about which it is silent, whatever its mood."""
        self.asked: dict[str, int] = {}
        """How often it was asked for the addresses of each name."""
        self._turns: dict[tuple[str, int], int] = {}

    def begin(self, zone: Zone) -> None:
        self.zone, self._turns = {name.lower(): answers for name, answers in zone.items()}, {}

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        end, labels = 12, []
        while data[end]:
            labels.append(data[end + 1 : end + 1 + data[end]].decode("latin-1"))
            end += 1 + data[end]
        name = ".".join(labels).lower()
        kind = struct.unpack_from("!H", data, end + 1)[0]
        if kind == A:
            self.asked[name] = self.asked.get(name, 0) + 1
        if self.mood == "silent" or name.endswith(self.slow_names):
            return
        answer = self._answer(data[:2], data[12 : end + 5], name, kind)
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self._transport.sendto, answer, addr)
        else:
            self._transport.sendto(answer, addr)

    def _answer(self, number: bytes, question: bytes, name: str, kind: int) -> bytes:
        answers = self.zone.get(name) or self.zone.get(f"*.{name.partition('.')[2]}")
        if self.mood == "fails":
            return number + struct.pack("!HHHHH", FAILS, 1, 0, 0, 0) + question
        turn = self._turns.get((name, kind), 0)
        self._turns[name, kind] = turn + 1
        found = [ipaddress.ip_address(text) for text in answers[min(turn, len(answers) - 1)]] if answers else []
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(address.packed)) + address.packed
            for address in found
            if (address.version == 4 and kind == A) or (address.version == 6 and kind == AAAA)
        )
        count = len(records) // (16 if kind == A else 28)
        flags = ANSWERS if answers is not None else UNKNOWN
        return number + struct.pack("!HHHHH", flags, 1, count, 0, 0) + question + records


class NameServer:
    """`with NameServer(...) as server`: services started by `server.command` ask it. Needs root."""

    def __init__(self, thread: LoopThread, directory: Path, options: str = "timeout:2 attempts:2") -> None:
        self.names = Names()
        self.resolv_conf = directory / "resolv.conf"
        self._options = options
        self._thread = thread
        self._transport: asyncio.DatagramTransport | None = None

    def command(self, kind: str) -> list[str]:
        """What starts a service with a resolv.conf of its own. The process stays the one that was started."""
        script = f'mount --bind "$1" {DAYLIGHT} && exec "$2"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(self.resolv_conf), str(service_command(kind))]

    def __enter__(self) -> Self:
        address = self._thread.run(self._start())
        self.resolv_conf.write_text(f"nameserver {address}\noptions {self._options}\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._thread.run(self._stop())

    async def _start(self) -> str:
        """On the first address of the loopback network that has no name server."""
        loop = asyncio.get_running_loop()
        for number in range(1, 250):
            address = f"127.0.53.{number}"
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                opened.bind((address, PORT))
            except OSError:
                opened.close()
                if number == 249:
                    raise
                continue
            opened.setblocking(False)
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self.names, sock=opened)
            return address
        raise AssertionError("never")

    async def _stop(self) -> None:
        if self._transport is not None:
            self._transport.close()
