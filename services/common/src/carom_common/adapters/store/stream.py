"""Reading the streams of state changes (events.py), on connections of its own: a read that blocks holds up nobody."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.events import stream_key
from carom_common.adapters.store.pool import SOCKET_SECONDS, connection_pool
from carom_common.adapters.store.replies import pairs
from carom_common.cancelling import answer_cancellation, cancellations
from carom_common.domain.happening import START, Happening, Position, Span
from carom_common.tls import NO_FILES, TlsFiles

__all__ = ["StoreUnavailable", "Streams"]

BLOCK_MS = 5000
READ_AT_ONCE = 1000
"""Entries of each stream that one read takes at most."""
PAGE = 500
PAGES_AT_ONCE = 4
"""Side reads under way: what many who resume at once may cost."""

_NO_STREAM = Span(None, START, cut=False)


class Streams:
    """Every method raises StoreUnavailable when Redis cannot be asked. A connection that broke is made anew."""

    def __init__(self, url: str, tls: TlsFiles = NO_FILES) -> None:
        self._pool = connection_pool(url, tls)
        self._pages = asyncio.Semaphore(PAGES_AT_ONCE)

    async def read(self, after: Mapping[str, Position]) -> dict[str, list[Happening]]:
        """What happened to the jobs of these tenants after their positions; waits up to 5 s for the first of it."""
        keys = {stream_key(tenant).encode(): tenant for tenant in after}
        command = ("XREAD", "COUNT", READ_AT_ONCE, "BLOCK", BLOCK_MS, "STREAMS", *keys, *map(str, after.values()))
        reply = await self._ask(*command, seconds=BLOCK_MS / 1000 + SOCKET_SECONDS)
        return {keys[key]: list(map(_happening, entries)) for key, entries in pairs(reply)}

    async def after(self, tenant: str, position: Position) -> list[Happening]:
        """The next 500 entries at most; fewer when these are all."""
        async with self._pages:
            reply = await self._ask("XRANGE", stream_key(tenant), str(position.next), "+", "COUNT", PAGE)
        return list(map(_happening, reply))

    async def until(self, tenant: str, position: Position) -> list[Happening]:
        """The last 500 entries at most up to a position, oldest first."""
        async with self._pages:
            reply = await self._ask("XREVRANGE", stream_key(tenant), str(position), "-", "COUNT", PAGE)
        return list(map(_happening, reversed(reply)))

    async def span(self, tenant: str) -> Span:
        """From where to where a tenant's stream goes now."""
        async with self._pages:
            try:
                reply = await self._ask("XINFO", "STREAM", stream_key(tenant))
            except _Refused as error:
                if "no such key" in str(error):
                    return _NO_STREAM
                raise
        facts = dict(pairs(reply))
        first = facts[b"first-entry"]
        added = facts.get(b"entries-added", facts[b"length"])  # not told before Redis 7
        position = _position(first[0]) if first else None
        return Span(position, _position(facts[b"last-generated-id"]), cut=added > facts[b"length"])

    async def close(self) -> None:
        await self._pool.aclose()

    async def _ask(self, *command: Any, seconds: float = SOCKET_SECONDS) -> Any:
        before = cancellations()
        try:
            async with asyncio.timeout(seconds), self._connection() as connection:
                await connection.send_command(*command, check_health=False)
                answer_cancellation(before)  # redis-py connects and sends within asyncio.wait_for
                return await connection.read_response(timeout=seconds)
        except ResponseError as error:
            raise _Refused(str(error)) from error
        except (RedisError, OSError, RuntimeError) as error:  # uvloop raises RuntimeError on a closed transport
            raise StoreUnavailable(str(error) or type(error).__name__) from error

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[AbstractConnection]:
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            yield connection
        except BaseException:
            await connection.disconnect(nowait=True)  # a reply may be on its way
            raise
        finally:
            await self._pool.release(connection)


class _Refused(StoreUnavailable):
    """Redis answered with an error."""


def _position(text: bytes) -> Position:
    ms, number = text.split(b"-")
    return Position(int(ms), int(number))


def _happening(entry: Any) -> Happening:
    place, fields = entry
    facts = dict(zip(fields[::2], fields[1::2], strict=True))
    return Happening(
        _position(place),
        facts[b"j"].decode(),
        facts[b"s"].decode(),
        int(facts[b"g"]),
        int(facts[b"a"]),
        int(facts[b"t"]),
    )
