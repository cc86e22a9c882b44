"""A target that counts how many calls are under way at once."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self


class Crowd:
    """`async with Crowd(0.05) as crowd`: every call takes so many seconds. `port` 0 for any."""

    def __init__(self, seconds: float, port: int = 0) -> None:
        self.now = self.most = self.calls = 0
        self.begun: list[float] = []
        self._seconds = seconds
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.host = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}/"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, backlog=1024)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await self._call()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _call(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.append(time.monotonic())
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.now -= 1
        self.calls += 1
