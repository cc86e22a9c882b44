"""Many script calls, few round trips: send at once when idle, else collect until the pipeline under way returns."""

import asyncio
import contextlib
import hashlib
import importlib.resources
from collections import deque
from collections.abc import Iterable
from time import perf_counter
from typing import Any, NamedTuple

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from carom_common.adapters.store.connection import Connection
from carom_common.adapters.store.pool import SOCKET_SECONDS, connection_pool
from carom_common.contracts.sealing import CLEAR, Vault
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.tls import NO_FILES, TlsFiles

BATCH_LIMIT = 64

_batch_seconds = metrics.store_batch_seconds.labels()
_batch_commands = metrics.store_batch_commands.labels()

_ELSEWHERE = (ReadOnlyError, MasterDownError, RedisConnectionError)
"""A failover, or a server that loads or lets nobody in: the name may lead to another one by now."""

_NO_ANSWER = (TimeoutError, RedisTimeoutError)

Command = tuple[Any, ...]

log = get_logger()


class StoreUnavailable(Exception):
    """Redis did not take the command, or its answer was lost. It may have run; running it again is safe."""


class Entry(NamedTuple):
    """Commands that go together in one round trip, and who waits for the reply to the first of them, or to all."""

    commands: tuple[Command, ...]
    future: "asyncio.Future[Any] | None"
    all: bool = False

    def resolve(self, replies: list[Any]) -> None:
        """Give who waits their replies; an error among them is theirs too."""
        if self.future is None or self.future.done():
            return
        wrong = replies[0] if not self.all else next((reply for reply in replies if isinstance(reply, Exception)), None)
        if not isinstance(wrong, Exception):
            self.future.set_result(replies if self.all else replies[0])
        elif isinstance(wrong, StoreUnavailable):
            self.future.set_exception(wrong)
        else:
            self.future.set_exception(StoreUnavailable(str(wrong)))


class Script:
    """A Lua script behind the shared prelude."""

    def __init__(self, name: str) -> None:
        folder = importlib.resources.files(__package__) / "scripts"
        self.text = (folder / "record.lua").read_text() + (folder / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Batcher:
    """Runs commands over one connection, up to 64 in a round trip; the order of calls is kept.

    redis-py connects; its pipelines are not used: packing and reading by hand costs a third of them (docs/adr/0007).
    """

    def __init__(self, url: str, tls: TlsFiles = NO_FILES, vault: Vault = CLEAR) -> None:
        self.vault = vault
        """What seals jobs and responses on their way to Redis, and opens them again."""
        self._pool = connection_pool(url, tls)
        self._connection: Connection | None = None
        self._scripts: dict[str, str] = {}
        self._waiting: deque[Entry] = deque()
        self._sender: asyncio.Task[None] | None = None
        self.healthy = False
        metrics.store_up.set_function(lambda: self.healthy)

    @property
    def waiting(self) -> int:
        """Entries that are not on their way yet."""
        return len(self._waiting)

    def register(self, name: str) -> str:
        """Make a script known; returns the SHA to call it by."""
        script = Script(name)
        self._scripts[script.sha] = script.text
        return script.sha

    async def run(self, *command: Any, also: tuple[Command, ...] = ()) -> Any:
        """Run one command, and `also` others right after it whose replies do not matter; raises StoreUnavailable."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._add(Entry((command, *also), future))
        return await future

    async def run_all(self, commands: Iterable[Command]) -> list[Any]:
        """Run many commands in one round trip: one reply for each, in order; raises StoreUnavailable.

        Far cheaper than as many calls of `run`, and in the way of others for as long as they take.
        """
        if not (given := tuple(commands)):
            return []
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._add(Entry(given, future, all=True))
        return await future

    def post(self, *commands: Command) -> None:
        """Send commands with the next round trip. Nobody waits: for what a sweep or the next transition mends."""
        self._add(Entry(commands, None))

    def _add(self, entry: Entry) -> None:
        self._waiting.append(entry)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        await self._forget_connection()
        await self._pool.aclose()

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, size = [], 0
                while self._waiting and size < BATCH_LIMIT:
                    batch.append(self._waiting.popleft())
                    size += len(batch[-1].commands)
                await self._send_batch(batch)
        finally:
            self._sender = None

    async def _send_batch(self, batch: list[Entry]) -> None:
        commands = [command for entry in batch for command in entry.commands]
        started = perf_counter()
        try:
            replies = await self._round_trip(commands)
            missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if missing:
                await self._round_trip([("SCRIPT", "LOAD", text) for text in self._scripts.values()])
                again = await self._round_trip([commands[i] for i in missing])
                for i, reply in zip(missing, again, strict=True):
                    replies[i] = reply
        except Exception as error:  # whatever it was: callers wait for an answer, and may ask again
            self.healthy = False
            metrics.store_failures.labels("away").inc()
            replies = [StoreUnavailable(str(error) or type(error).__name__)] * len(commands)
            if isinstance(error, _NO_ANSWER):  # nor would who waits get one, in 5 s for each 64 of them
                waiting = [entry for entry in self._waiting if entry.future is not None]
                self._waiting = deque(entry for entry in self._waiting if entry.future is None)
                batch += waiting
                replies += replies[:1] * sum(len(entry.commands) for entry in waiting)
        except asyncio.CancelledError:
            for entry in batch:
                if entry.future is not None:
                    entry.future.cancel()
            raise
        else:
            _batch_seconds.observe(perf_counter() - started)
            _batch_commands.observe(len(commands))
            refused = next((reply for reply in replies if isinstance(reply, RedisError)), None)
            if refused is not None:
                self.healthy = False  # it answers, but takes no writes: full, read-only or forbidden
                metrics.store_failures.labels("refused").inc()
                log.warning("store_refused", reason=str(refused))
        first = 0
        for entry in batch:
            entry.resolve(replies[first : first + len(entry.commands)])
            first += len(entry.commands)

    async def _round_trip(self, commands: list[Command]) -> list[Any]:
        """Send all, read all; an error reply takes the place of its result. An idle connection is tried anew."""
        data = b"".join(map(hiredis.pack_command, commands))
        reused = self._connection is not None
        try:
            return await self._exchange(data, len(commands))
        except (RedisConnectionError, OSError, RuntimeError):  # uvloop raises RuntimeError on a closed transport
            if not reused:
                raise
            return await self._exchange(data, len(commands))

    async def _exchange(self, data: bytes, count: int) -> list[Any]:
        try:
            if self._connection is None:
                async with asyncio.timeout(SOCKET_SECONDS):
                    self._connection = await Connection.open(self._pool)
            # Not the same time limit: redis-py may lose the cancellation of the first, and nothing would end this.
            async with asyncio.timeout(SOCKET_SECONDS):
                replies = await self._connection.exchange(data, count)
        except BaseException:
            await self._forget_connection()
            raise
        if any(isinstance(reply, _ELSEWHERE) for reply in replies):
            await self._forget_connection()
        return replies

    async def _forget_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
