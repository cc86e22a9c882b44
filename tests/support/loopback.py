"""A server on 127.0.0.1 whose connections end with it."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from tests.support.connections import Connections


class LoopbackServer(ABC):
    """`async with`: from then on `host` is where it listens; `port` 0 for any."""

    def __init__(self, port: int = 0) -> None:
        self.host = ""
        self._port = port
        self._connections = Connections(self._serve)

    @abstractmethod
    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is to end."""

    async def __aenter__(self) -> Self:
        self.host = f"127.0.0.1:{await self._connections.listen(port=self._port)}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._connections.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
