"""A connection to Redis that was reset while nobody used it: the next commands are answered."""

import asyncio
import contextlib
import socket
import struct

import pytest
from tests.support.servers import Servers
from tests.support.witness import LoopThread

from carom_common.adapters.store.batch import Batcher

pytestmark = pytest.mark.fault


class ResettingProxy:
    """In front of Redis: resets every connection on demand, as a router does that has forgotten them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clients: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def reset(self) -> None:
        for client in self._clients:
            linger = struct.pack("ii", 1, 0)
            client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.transport.abort()
        self._clients.clear()

    def stop(self) -> None:
        self.reset()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(writer)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        while data := await source.read(65536):
            sink.write(data)
    sink.close()


def test_idle_redis_connection_is_reset(steady_servers: Servers, loop_thread: LoopThread) -> None:
    """The next commands are answered: uvloop raises RuntimeError, of all things, when the transport is closed."""

    async def ping_after_reset() -> list[object]:
        proxy = ResettingProxy(steady_servers.redis.port)
        batcher = Batcher(f"redis://127.0.0.1:{await proxy.start()}/0")
        try:
            await batcher.run("PING")
            proxy.reset()
            await asyncio.sleep(0.2)
            async with asyncio.timeout(10):
                return list(await asyncio.gather(*(batcher.run("PING") for _ in range(3))))
        finally:
            await batcher.close()
            proxy.stop()

    assert loop_thread.run(ping_after_reset()) == [b"PONG"] * 3
