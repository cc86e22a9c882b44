"""A target that counts how many calls are under way at once."""

import asyncio
import time

from tests.support.loopback import LoopbackServer


class Crowd(LoopbackServer):
    """`async with Crowd(0.05) as crowd`: every call takes so many seconds."""

    def __init__(self, seconds: float, port: int = 0) -> None:
        super().__init__(port)
        self.now = self.most = self.calls = 0
        self.begun: list[float] = []
        self.seconds = seconds
        """Of every call that begins from now on."""

    @property
    def url(self) -> str:
        return f"http://{self.host}/"

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        await self._call()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    async def _call(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.append(time.monotonic())
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        self.calls += 1
