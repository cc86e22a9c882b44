"""A small TCP balancer in front of the replicas of intake, which sends nobody to one that is not ready."""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.support.connections import Connections
from tests.support.proxy import pipe
from tests.support.witness import LoopThread

from devstack.services import Service

PROBE_SECONDS = 0.2
PROBE_TIMEOUT = 1.0
READ_BYTES = 65_536
SILENT_PROBES = 3
"""After so many in a row that were not answered in time it counts as not ready."""
NOBODY = b"HTTP/1.1 502 no replica is ready\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Balancer:
    """Each connection goes to the next replica that is ready; one that cannot be reached is passed over.

    It does what a Service of Kubernetes does: who is withdrawn or not ready gets no new connections, and keeps the old.
    """

    def __init__(self, thread: LoopThread, replicas: Sequence[Service]) -> None:
        self.url = ""
        self._thread = thread
        self._replicas = list(replicas)
        self._ready = {service.name: True for service in replicas}
        self._withdrawn: set[str] = set()
        self._turns = itertools.count()
        self._connections = Connections(self._serve)

    def withdraw(self, service: Service) -> None:
        """No new connections for it, whatever it says."""
        self._withdrawn.add(service.name)

    def restore(self, service: Service) -> None:
        self._withdrawn.discard(service.name)

    def __enter__(self) -> Self:
        self._thread.run(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._thread.run(self._stop())

    async def _start(self) -> None:
        self.url = f"http://127.0.0.1:{await self._connections.listen()}"
        for service in self._replicas:
            self._connections.keep(self._probe(service))

    async def _stop(self) -> None:
        await self._connections.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = next(self._turns) % len(self._replicas)
        try:
            for service in self._replicas[turn:] + self._replicas[:turn]:
                if service.name in self._withdrawn or not self._ready[service.name]:
                    continue
                with contextlib.suppress(OSError):
                    there, to = await asyncio.open_connection("127.0.0.1", service.port)
                    await asyncio.gather(pipe(reader, to), pipe(there, writer))
                    return
            await reader.read(READ_BYTES)  # or closing would reset the connection, and the answer with it
            writer.write(NOBODY)
        finally:
            writer.close()

    async def _probe(self, service: Service) -> None:
        silent = 0
        while True:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT):
                    self._ready[service.name] = await _is_ready(service.admin_port)
                silent = 0
            except TimeoutError:
                silent += 1
                self._ready[service.name] &= silent < SILENT_PROBES
            except OSError:
                self._ready[service.name] = False
            await asyncio.sleep(PROBE_SECONDS)


async def _is_ready(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    finally:
        writer.close()
