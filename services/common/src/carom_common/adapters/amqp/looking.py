"""Looking into queues without taking anything out of them, through aio-pika: rare, and no part of the message path."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity

from carom_common.adapters.amqp.errors import BrokerError, BrokerUnavailable
from carom_common.tls import NO_FILES, TlsFiles, client_context, why

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0


class Letter(NamedTuple):
    """A message that stays where it is; `deliveries`: how often it was delivered before this."""

    body: bytes
    headers: dict[str, Any]
    deliveries: int


class Looker:
    """Made by `looker()`. Methods raise BrokerError."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    async def consumers(self, queue: str) -> int | None:
        """How many consumers a queue has; None where there is no such queue."""
        with _told():
            async with asyncio.timeout(ANSWER_SECONDS), self._connection.channel() as channel:
                try:
                    declared = await channel.declare_queue(queue, passive=True)
                except ChannelNotFoundEntity:
                    return None
                return declared.declaration_result.consumer_count or 0

    async def letters(self, queue: str) -> AsyncIterator[Letter]:
        """All that a queue holds now, the oldest first, one at a time.

        Nothing is acknowledged: the broker puts all of it back, in order, when this ends, however it ends. It counts
        that as a delivery of each.
        """
        with _told():
            channel = await self._connection.channel()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    try:
                        found = await channel.declare_queue(queue, passive=True)
                    except ChannelNotFoundEntity:
                        return
                for _ in range(found.declaration_result.message_count or 0):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        message = await found.get(no_ack=False, fail=False)
                    if message is None:
                        return
                    headers = dict(message.headers)
                    yield Letter(message.body, headers, int(str(headers.get("x-delivery-count") or 0)))
            finally:
                await channel.close()


@asynccontextmanager
async def looker(url: str, name: str, tls: TlsFiles = NO_FILES) -> AsyncIterator[Looker]:
    """A connection to look with; raises BrokerUnavailable."""
    context = client_context(tls) if urlsplit(url).scheme == "amqps" else None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await aio_pika.connect(
                url, ssl_context=context, client_properties={"connection_name": f"{name} look"}
            )
    except (AMQPError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(f"{urlsplit(url).hostname}: {why(error, 'BROKER')}") from error
    try:
        yield Looker(connection)
    finally:
        await connection.close()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise BrokerError(f"cannot look into a queue: {why(error, 'BROKER')}") from error
