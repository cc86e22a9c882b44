"""A keep-alive HTTP/1.1 client without frills: it shares the machine with what it measures."""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

IDLE_SECONDS = 2
"""Less than a server keeps an idle connection open."""
NO_HEADERS: Mapping[str, str] = {}
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


class Client:
    """Opens as many connections as there are requests at once, and keeps them."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._free: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS, seconds: float = 30
    ) -> tuple[int, bytes]:
        """Status and body of the answer; ConnectionError or TimeoutError when there is none."""
        async with asyncio.timeout(seconds):
            reader, writer = await self._connection()
            try:
                more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n{more}"
                writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
                answer_head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(answer_head)
                answer = await reader.readexactly(int(length[1])) if length else b""
            except asyncio.IncompleteReadError as error:
                writer.close()
                raise ConnectionError("the connection ended early") from error
            except BaseException:
                writer.close()
                raise
        self._free.append((time.monotonic(), reader, writer))
        return int(answer_head[9:12]), answer

    async def post(self, path: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> tuple[int, bytes]:
        """The same for what a measurement counts: status 0 when there is no answer."""
        try:
            return await self.request("POST", path, body, headers)
        except (OSError, TimeoutError):
            return 0, b""

    async def get(self, path: str) -> Any:
        """The JSON of an answer of 200."""
        status, body = await self.request("GET", path)
        if status != 200:
            raise ConnectionError(f"GET {path} answered {status}")
        return json.loads(body)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            since, reader, writer = self._free.pop()
            if time.monotonic() < since + IDLE_SECONDS and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for _, _, writer in self._free:
            writer.close()
