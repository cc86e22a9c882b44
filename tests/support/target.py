"""A real HTTP server on loopback whose answers a test writes down: target of jobs and receiver of callbacks."""

import asyncio
import itertools
import json
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.loopback import LoopbackServer
from tests.support.waiting import WITHIN, eventually

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Received:
    """One request as it came in; `at` is the Unix time at which its head was complete."""

    at: float
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that came at most once."""
        values = [value for given, value in self.headers if given.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What to do with a request after `delay` seconds: answer it, or break the connection in one of several ways."""

    status: int = 200
    body: bytes = b'{"ok":true}'
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    delay: float = 0
    way: Literal["answer", "close", "reset", "hang", "half"] = "answer"
    """close: without a response; reset: with a TCP RST; half: in the middle of the body; hang: when released."""


CLOSE, RESET, HANG, HALF = (Answer(way=way) for way in ("close", "reset", "hang", "half"))


def respond(status: int = 200, value: Any = None, *, delay: float = 0, **headers: str) -> Answer:
    """A JSON answer; `retry_after="1"` becomes the header `Retry-After`."""
    named = {name.replace("_", "-").title(): text for name, text in headers.items()}
    body = b"" if status in (204, 304) else json.dumps({"ok": status < 300} if value is None else value).encode()
    return Answer(status, body, (JSON | named) if body else named, delay)


class Endpoint:
    """One path with its script of answers, the last of which repeats."""

    def __init__(self, url: str, answers: tuple[Answer, ...]) -> None:
        self.url = url
        self.answers = list(answers) or [respond()]
        self.requests: list[Received] = []
        self.gone_away = False
        """Whether a client gave up while it hung."""
        self._released = asyncio.Event()

    def release(self) -> None:
        """End the calls that hang, without a response."""
        self._released.set()

    async def hang(self, reader: asyncio.StreamReader) -> None:
        """Until the client gives up or the test releases it."""
        tasks = [asyncio.ensure_future(reader.read()), asyncio.ensure_future(self._released.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.gone_away = self.gone_away or not self._released.is_set()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def wait(self, count: int = 1, within: float = WITHIN) -> list[Received]:
        """Every request, once there are at least `count`."""
        await eventually(lambda: len(self.requests) >= count, f"{count} requests of {self.url}", within)
        return self.requests

    async def one(self, within: float = WITHIN) -> Received:
        """The first request."""
        return (await self.wait(1, within))[0]


class Target(LoopbackServer):
    """`async with Target() as target`, then `target.endpoint(...)` for each conversation."""

    def __init__(self) -> None:
        super().__init__()
        self._endpoints: dict[str, Endpoint] = {}
        self._numbers = itertools.count(1)

    def endpoint(self, *answers: Answer) -> Endpoint:
        path = f"/e{next(self._numbers)}"
        endpoint = self._endpoints[path] = Endpoint(f"http://{self.host}{path}", answers)
        return endpoint

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is to end."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        at = time.time()
        line, *lines = head.rstrip().split("\r\n")
        method, path, _ = line.split(" ")
        pairs = [tuple(text.split(":", 1)) for text in lines]
        headers = [(name, value.strip()) for name, value in pairs]
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        body = await reader.readexactly(length)
        endpoint = self._endpoints.get(path.split("?")[0])
        if endpoint is None:
            answer = respond(404)
        else:
            answer = endpoint.next_answer()
            endpoint.requests.append(Received(at, method, path, headers, body))
        if endpoint is not None and answer.way == "hang":
            await endpoint.hang(reader)
            return False
        await asyncio.sleep(answer.delay)
        return await self._answer(answer, method, writer)

    async def _answer(self, answer: Answer, method: str, writer: asyncio.StreamWriter) -> bool:
        if answer.way == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        if answer.way in ("reset", "close"):
            return False
        head = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {value}" for name, value in answer.headers.items())]
        bodiless = method == "HEAD" or answer.status in (204, 304)
        if not bodiless or answer.body:
            head.append(f"Content-Length: {len(answer.body)}")
        writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
        if answer.way == "half":
            writer.write(answer.body[: len(answer.body) // 2])
            await writer.drain()
            return False
        if not bodiless:
            writer.write(answer.body)
        await writer.drain()
        return True
