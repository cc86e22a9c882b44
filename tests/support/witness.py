"""A target and a callback receiver that remember every request, on the loopback interface or a given socket.

Fault tests compare what was promised with what arrived here. What to answer is in the URL as a plan: a comma separated
list of `status:delay_ms`, whose last entry repeats. Targets step through it by the number of the attempt (so that a
repeated call gets the same answer), or by arrival where the path says `arrival`; receivers always by arrival.
"""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast

import uvloop
from tests.support.waiting import eventually

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own: tests may block, what serves and submits must not."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        return self.start(work).result(seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        # Connections that peers left open: uvloop closes their handles in its next turn, and says busy until then.
        with contextlib.suppress(OSError):
            self._loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Call(NamedTuple):
    """One request at the target."""

    attempt: int
    at: float
    status: int


class Callback(NamedTuple):
    """One request at the receiver: what was answered, and what the body says."""

    webhook_id: str
    at: float
    answered: int
    status: str
    attempts: int
    logged: int

    @property
    def taken(self) -> bool:
        return 200 <= self.answered < 300


class Step(NamedTuple):
    status: int
    delay: float


def _step(plan: str, index: int) -> Step:
    parts = plan.split(",")
    status, _, delay = parts[min(index, len(parts) - 1)].partition(":")
    return Step(int(status), int(delay or 0) / 1000)


class Witness:
    """Calls and callbacks by job id, times from the monotonic clock.

    `listener` is a socket to serve on, which services reach as `host`. What is posted below `collector` is kept.
    """

    def __init__(self, thread: LoopThread, listener: socket.socket | None = None, host: str = "127.0.0.1") -> None:
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        self.callbacks: defaultdict[str, list[Callback]] = defaultdict(list)
        self.exported: list[bytes] = []
        self._thread = thread
        self._listener = listener
        self._host = host
        self._server: asyncio.Server | None = None
        self.connections: set[asyncio.Transport] = set()
        self.base = ""

    def target(self, plan: str, by: str = "attempt") -> str:
        return f"{self.base}/{by}/{plan}"

    def receiver(self, plan: str = "200") -> str:
        return f"{self.base}/callback/{plan}"

    @property
    def collector(self) -> str:
        """The base URL of one that takes spans (OTLP/HTTP)."""
        return f"{self.base}/collector"

    def taken(self, job_id: str) -> list[Callback]:
        """The callbacks of a job that were answered with 2xx."""
        return [callback for callback in list(self.callbacks.get(job_id, ())) if callback.taken]

    def called(self, job_id: str) -> list[Call]:
        return list(self.calls.get(job_id, ()))

    def take(self, path: str, headers: dict[str, str], body: bytes) -> Step:
        """Note a request and say what to answer."""
        _, kind, plan = path.split("/", 2)
        now = time.monotonic()
        if kind == "collector":
            self.exported.append(body)
            return Step(200, 0)
        if kind == "callback":
            document = json.loads(body)
            job_id = document["jobId"]
            step = _step(plan, len(self.callbacks[job_id]))
            self.callbacks[job_id].append(
                Callback(
                    headers["webhook-id"],
                    now,
                    step.status,
                    document["status"],
                    document["attempts"],
                    len(document["attemptsLog"]),
                )
            )
            return step
        job_id, attempt = headers["x-carom-job-id"], int(headers["x-carom-attempt"])
        step = _step(plan, len(self.calls[job_id]) if kind == "arrival" else attempt - 1)
        self.calls[job_id].append(Call(attempt, now, step.status))
        return step

    def __enter__(self) -> Self:
        self._server = self._thread.run(self._serve())
        self.base = f"http://{self._host}:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._server is not None:
            self._thread.run(self._close(self._server))

    async def _serve(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            return await loop.create_server(lambda: _Http(self), sock=self._listener, backlog=4096)
        return await loop.create_server(lambda: _Http(self), self._host, 0, backlog=4096)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        # Who called keeps its connections, and may live on.
        for transport in list(self.connections):
            transport.abort()
        await eventually(lambda: not self.connections, "all connections are closed")


class _Http(asyncio.Protocol):
    """Just enough HTTP/1.1: Content-Length, keep-alive, no pipelining."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass
        self._witness.connections.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._witness.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            stop = end + 4 + int(headers.get("content-length", 0))
            if len(self._buffer) < stop:
                return
            body = bytes(self._buffer[end + 4 : stop])
            del self._buffer[:stop]
            step = self._witness.take(first.split(" ")[1], headers, body)
            asyncio.get_running_loop().call_later(step.delay, self._answer, step.status)

    def _answer(self, status: int) -> None:
        if self._transport is not None and not self._transport.is_closing():
            head = f"HTTP/1.1 {status} Planned\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n"
            self._transport.write(head.encode() + b'{"ok":true}')
