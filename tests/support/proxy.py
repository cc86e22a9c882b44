"""A small real CONNECT proxy, which looks nothing up and notes what it is asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.connections import Connections


class ConnectProxy:
    """Answers CONNECT with a tunnel, or with what `answer` says instead. `asked` has each head."""

    def __init__(self, answer: bytes | None, silent: bool) -> None:
        self.asked: list[str] = []
        self.port = 0
        self._answer = answer
        self._silent = silent

    @property
    def targets(self) -> list[str]:
        return [head.split(" ")[1] for head in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.asked.append(head)
            if self._silent:
                await asyncio.sleep(30)
            if self._answer is not None:
                writer.write(self._answer)
                await writer.drain()
                return
            host, _, port = head.split(" ")[1].rpartition(":")
            there, out = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            await asyncio.gather(pipe(reader, out), pipe(there, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def proxying(answer: bytes | None = None, *, silent: bool = False) -> AsyncIterator[ConnectProxy]:
    proxy = ConnectProxy(answer, silent)
    connections = Connections(proxy.serve)
    proxy.port = await connections.listen()
    try:
        yield proxy
    finally:
        await connections.close()


async def pipe(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    """Pass on what comes until either side ends."""
    try:
        while data := await source.read(65536):
            to.write(data)
            await to.drain()
    except (ConnectionError, RuntimeError):  # uvloop raises the latter where the transport is closed already
        pass
    finally:
        to.close()
