"""A connection to Redis: redis-py opens it, and from then on bytes go out and replies come in.

redis-py knows URLs, TLS, authentication and RESP; each reply that it reads is a chain of six coroutines, here it is one
call of its parser (docs/adr/0007).
"""

import asyncio
from typing import Any, Final, Self, cast

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError

_INCOMPLETE: Final = object()


class Connection(asyncio.Protocol):
    """One exchange at a time. After any error it is to be closed."""

    def __init__(self, pool: ConnectionPool, opened: AbstractConnection) -> None:
        self._pool = pool
        self._opened = opened
        writer = opened._writer  # there is no public way to what redis-py writes to
        assert writer is not None
        self._transport = cast(asyncio.Transport, writer.transport)
        self._reader = hiredis.Reader(replyError=DefaultParser.parse_error, notEnoughData=_INCOMPLETE)
        self._replies: list[Any] = []
        self._count = 0
        self._waiter: asyncio.Future[list[Any]] | None = None
        self._lost: Exception | None = None
        self._transport.set_protocol(self)

    @classmethod
    async def open(cls, pool: ConnectionPool) -> Self:
        """Raises what redis-py raises."""
        return cls(pool, await pool.get_connection())  # type: ignore[no-untyped-call]

    async def exchange(self, commands: bytes, count: int) -> list[Any]:
        """Send so many commands and wait for their replies; an error reply takes the place of its result.

        Raises RedisConnectionError or OSError when the connection is lost, RuntimeError where uvloop closed it.
        """
        if self._lost is not None:
            raise self._lost
        self._replies, self._count = [], count
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(commands)
        return await self._waiter

    async def close(self) -> None:
        await self._opened.disconnect(nowait=True)
        await self._pool.release(self._opened)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not _INCOMPLETE:
            if not isinstance(reply, hiredis.PushNotification):
                self._replies.append(reply)
        if len(self._replies) > self._count:
            self._fail(RedisConnectionError("more replies than commands"))
            self._transport.abort()
        elif len(self._replies) == self._count and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or RedisConnectionError("Connection closed by server."))

    def _fail(self, error: Exception) -> None:
        self._lost = self._lost or error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
