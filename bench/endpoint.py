"""A small HTTP server that tells when each request came: target and receiver where the moment counts."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

POLL_SECONDS = 0.02
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_REASONS = {200: b"OK", 503: b"Service Unavailable"}

Answer = Callable[[str, float], int]
"""Gets the path and the Unix time at which the request's head was complete; gives the status to answer."""


class _Exchange(asyncio.Protocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        at = time.time()
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._data, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < size:
                return
            path = self._data[: self._data.index(b"\r\n")].split(b" ")[1].decode()
            self._data = self._data[size:]
            status = self._answer(path, at)
            self._transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n"
                % (status, _REASONS[status])
                + b'{"ok":true}'
            )


async def until(ready: Callable[[], bool], seconds: float) -> None:
    """Wait for what the arrivals bring about, not longer than `seconds`."""
    for _ in range(int(seconds / POLL_SECONDS)):
        if ready():
            return
        await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def endpoint(answer: Answer) -> AsyncIterator[str]:
    """Base URL of a server on a free loopback port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Exchange(answer), "127.0.0.1", 0, backlog=1024)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
