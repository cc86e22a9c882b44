"""The way between two processes, as a small TCP proxy that can be slow, lossy, silent, or forget its connections.

It stands for a network that this kernel cannot shape: the loss of a packet is what TCP makes of it, a wait of some
hundred milliseconds for all that is behind it, or a reset. What happens to which piece comes from a seed.
"""

import asyncio
import itertools
import random
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from tests.support.connections import Connections
from tests.support.witness import LoopThread

Address = tuple[str, int]

T = TypeVar("T")

READ_BYTES = 65_536
PIECES_ON_THE_WAY = 64
READ_SECONDS = 0.02
"""Until what arrived before a reset is read: the reset overtakes what is not."""


class Weather(NamedTuple):
    """What a piece of data meets on its way. Times in seconds, shares from 0 to 1."""

    latency: float = 0.0
    jitter: float = 0.0
    stalls: float = 0.0
    """Share of pieces that are lost and sent again: all behind them wait for `stall`."""
    stall: float = 0.3
    cuts: float = 0.0
    """Share of pieces at which the connection is reset, to both sides."""
    tears: float = 0.0
    """The same, after a part of the piece has arrived: within a frame of AMQP, or a reply of Redis."""


FAIR = Weather()


class Link:
    """In front of `server`, which may be another one for each new connection; listens on a port of its own.

    `hold()` and `go_on()`: a partition, in which nothing is lost that was accepted. `forget()`: connections that are
    open are dead from now on, and nobody is told. `swallow`: new ones are accepted and never answered. `only`: the
    weather is that of connections whose client says this.
    """

    def __init__(
        self,
        thread: LoopThread,
        server: Address | Callable[[], Address | None],
        *,
        seed: int | str = 0,
        host: str = "127.0.0.1",
        only: bytes = b"",
    ) -> None:
        self.host = host
        self.only = only
        self.port = 0
        self.weather = FAIR
        self.swallow = False
        self.opened = 0
        """Connections so far."""
        self.torn = 0
        """Of them ended within a piece."""
        self._thread = thread
        self.find = server if callable(server) else lambda: server
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.sow(seed)
        self._connections = Connections(self._serve)
        self._open: set[_Connection] = set()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def sow(self, seed: int | str) -> None:
        """What happens to which piece comes from this from now on."""
        self._seed, self._numbers = seed, itertools.count()

    def hold(self) -> None:
        self._do(self.flowing.clear)

    def go_on(self) -> None:
        self._do(self.flowing.set)

    def forget(self) -> int:
        """How many there were."""
        return self._do(lambda: sum(connection.forget() for connection in self._open))

    def cut(self) -> int:
        """Reset all that are open; how many there were."""
        return self._do(lambda: sum(connection.reset() for connection in list(self._open)))

    def move(self, host: str) -> None:
        """To another address, with the same port; nobody who is on the old one is told more than a reset."""
        self._thread.run(self._stop())
        self.host = host
        self._thread.run(self._start())

    def heal(self) -> None:
        """As on the first day; what was forgotten stays forgotten."""
        self.weather, self.swallow = FAIR, False
        self.go_on()

    def _do(self, what: Callable[[], T]) -> T:
        """In the loop, which nothing else here may be used outside of."""

        async def do() -> T:
            return what()

        return self._thread.run(do())

    def __enter__(self) -> Self:
        self._thread.run(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._thread.run(self._stop())

    async def _start(self) -> None:
        self.port = await self._connections.listen(self.host, self.port)

    async def _stop(self) -> None:
        for connection in self._open:
            connection.reset()
        await self._connections.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        connection = _Connection(self, random.Random(f"{self._seed}/{next(self._numbers)}"), writer)
        self._open.add(connection)
        try:
            await connection.serve(reader)
        except* (OSError, RuntimeError):  # one side is gone; uvloop raises RuntimeError on a closed transport
            connection.reset()
        finally:
            self._open.discard(connection)
            connection.end()


class _Connection:
    def __init__(self, link: Link, chance: random.Random, client: asyncio.StreamWriter) -> None:
        self._link = link
        self._chance = chance
        self._writers = [client]
        self._forgotten = False
        self._meant = not link.only

    async def serve(self, reader: asyncio.StreamReader) -> None:
        if self._link.swallow:
            await asyncio.Event().wait()
        # A connect takes a round trip, and does not come through a partition.
        await asyncio.sleep(2 * self._link.weather.latency)
        await self._link.flowing.wait()
        server = self._link.find()
        if server is None:
            raise ConnectionRefusedError
        there, to = await asyncio.open_connection(*server)
        self._writers.append(to)
        async with asyncio.TaskGroup() as both:
            for source, sink in ((reader, to), (there, self._writers[0])):
                on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES_ON_THE_WAY)
                both.create_task(self._depart(source, on_the_way))
                both.create_task(self._arrive(on_the_way, sink))

    def forget(self) -> bool:
        fresh, self._forgotten = not self._forgotten, True
        return fresh

    def reset(self) -> bool:
        for writer in self._writers:
            if not writer.transport.is_closing():
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
        return True

    def end(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _depart(self, source: asyncio.StreamReader, on_the_way: "asyncio.Queue[tuple[float, bytes]]") -> None:
        """Pieces are read while earlier ones are on their way; the last one is empty."""
        data = b" "
        while data:
            data = await source.read(READ_BYTES)
            self._meant = self._meant or self._link.only in data
            await on_the_way.put((self._due(), data))

    def _due(self) -> float:
        """When a piece that sets out now arrives, if none before it is late."""
        weather, chance = self._link.weather if self._meant else FAIR, self._chance
        due = asyncio.get_running_loop().time() + weather.latency + weather.jitter * chance.random()
        if chance.random() < weather.stalls:
            due += weather.stall
        return due

    async def _arrive(self, on_the_way: "asyncio.Queue[tuple[float, bytes]]", sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await on_the_way.get()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            await self._link.flowing.wait()
            if self._forgotten:
                await asyncio.Event().wait()
            if self._chance.random() < self._link.weather.cuts:
                raise ConnectionResetError
            if len(data) > 1 and self._chance.random() < self._link.weather.tears:
                self._link.torn += 1
                sink.write(data[: self._chance.randrange(1, len(data))])
                await sink.drain()
                await asyncio.sleep(READ_SECONDS)
                raise ConnectionResetError
            if not data:
                sink.close()
                return
            sink.write(data)
            await sink.drain()
