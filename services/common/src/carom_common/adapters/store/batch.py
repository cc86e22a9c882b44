"""Many script calls, few round trips: send at once when idle, else collect until the pipeline under way returns."""

import asyncio
import contextlib
import hashlib
import importlib.resources
from collections import deque
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

BATCH_LIMIT = 64
SOCKET_SECONDS = 5.0

Command = tuple[Any, ...]


class StoreUnavailable(Exception):
    """Redis did not take the command, or its answer was lost. It may have run; running it again is safe."""


class Script:
    """A Lua script behind the shared prelude."""

    def __init__(self, name: str) -> None:
        folder = importlib.resources.files(__package__) / "scripts"
        self.text = (folder / "record.lua").read_text() + (folder / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Batcher:
    """Runs commands over one connection, up to 64 in a pipeline; the order of calls is kept."""

    def __init__(self, url: str) -> None:
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=4,
            timeout=SOCKET_SECONDS,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=Retry(NoBackoff(), 1),
            health_check_interval=0,
        )
        self.redis: Redis = Redis.from_pool(self._pool)
        self._scripts: dict[str, str] = {}
        self._waiting: deque[tuple[Command, asyncio.Future[Any]]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self.healthy = False

    def register(self, name: str) -> str:
        """Make a script known; returns the SHA to call it by."""
        script = Script(name)
        self._scripts[script.sha] = script.text
        return script.sha

    async def run(self, *command: Any) -> Any:
        """Run one command; raises StoreUnavailable."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())
        return await future

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        await self.redis.aclose(close_connection_pool=True)

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_LIMIT))]
                await self._send_batch(batch)
        finally:
            self._sender = None

    async def _send_batch(self, batch: list[tuple[Command, asyncio.Future[Any]]]) -> None:
        try:
            replies = await self._pipeline([command for command, _ in batch])
            if any(isinstance(reply, NoScriptError) for reply in replies):
                for text in self._scripts.values():
                    await self.redis.script_load(text)
                missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
                again = await self._pipeline([batch[i][0] for i in missing])
                for i, reply in zip(missing, again, strict=True):
                    replies[i] = reply
        except (RedisError, OSError, TimeoutError) as error:
            self.healthy = False
            replies = [StoreUnavailable(str(error) or type(error).__name__)] * len(batch)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        else:
            self.healthy = True
        for (_, future), reply in zip(batch, replies, strict=True):
            if future.done():
                continue
            if isinstance(reply, ResponseError):
                reply = StoreUnavailable(str(reply))
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    async def _pipeline(self, commands: list[Command]) -> list[Any]:
        pipeline = self.redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)
