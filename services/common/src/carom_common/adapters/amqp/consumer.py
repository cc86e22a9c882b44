"""Consuming, for as long as the process lives: one channel a queue, reconnects by itself."""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from carom_common.adapters.amqp import wire
from carom_common.adapters.amqp.acks import AckBatch
from carom_common.adapters.amqp.channel import Channel, OnDeliver
from carom_common.adapters.amqp.connection import Connection, connect
from carom_common.adapters.amqp.errors import BrokerError, BrokerUnavailable
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.tls import NO_FILES, TlsFiles

RECONNECT_SECONDS = 1.0

log = get_logger()


class Delivery:
    """A message that the broker waits for us to ack. Once `alive` is false it has gone back to its queue.

    `message_id` is unique for each message; one that an operator's tool published without is known by its content.
    """

    __slots__ = ("_batch", "_channel", "_method", "_tag", "body", "message_id", "queue")

    def __init__(
        self, queue: str, method: bytes, message_id: str, body: bytes, channel: Channel, batch: AckBatch
    ) -> None:
        """`method` is the Basic.Deliver."""
        self.queue = queue
        self.message_id = message_id or hashlib.sha256(body).hexdigest()[:32]
        self.body = body
        self._tag = wire.parse_deliver(method)
        self._method = method
        self._channel = channel
        self._batch = batch

    @property
    def alive(self) -> bool:
        return not self._channel.closed.done()

    @property
    def routing_key(self) -> str:
        """The key that it was published with last; read when asked for, as only spans say it."""
        return wire.routing_key_of(self._method)

    def ack(self) -> None:
        self._batch.ack(self._tag)

    def requeue(self) -> None:
        """Hand the message back; the broker counts it as a failed delivery."""
        self._batch.requeue(self._tag)


class Consumer:
    """Delivers from several queues to one callback, which must return at once."""

    def __init__(
        self,
        url: str,
        name: str,
        prefetch: Mapping[str, int],
        on_delivery: Callable[[Delivery], None],
        declare: Callable[[], Awaitable[None]],
        tls: TlsFiles = NO_FILES,
    ) -> None:
        self._url = url
        self._tls = tls
        self._name = name
        self._prefetch = prefetch
        self._on_delivery = on_delivery
        self._declare = declare
        self._connection: Connection | None = None
        self._consuming: list[tuple[Channel, str, AckBatch]] = []
        self._stopping = False
        self._paused = False
        self._changed = asyncio.Event()

    @property
    def paused(self) -> bool:
        """Whether nothing is taken from the queues; what was taken goes on."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            self._changed.set()

    @property
    def consuming(self) -> bool:
        """Every queue has its consumer, or would have it were it not paused."""
        return len(self._consuming) == len(self._prefetch) and not any(
            channel.closed.done() or not (tag or self._paused) for channel, tag, _ in self._consuming
        )

    async def run(self) -> None:
        """Keep consuming until `drain()` or cancellation."""
        while not self._stopping:
            try:
                await self._hold_connection()
            except BrokerError as error:
                if self._stopping:
                    return
                metrics.broker_disconnects.labels("consume").inc()
                log.warning("consumer_disconnected", reason=str(error))
                if "404" in str(error) or "cancelled the consumer" in str(error):
                    with contextlib.suppress(BrokerError):
                        await self._declare()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def drain(self) -> None:
        """Stop taking deliveries; those that are out can still be acked."""
        self._stopping = True
        for channel, consumer_tag, _ in self._consuming:
            if consumer_tag:
                with contextlib.suppress(BrokerError, TimeoutError):
                    async with asyncio.timeout(2):
                        await channel.cancel(consumer_tag)

    async def close(self) -> None:
        """Send the last acks and close; the broker requeues the rest."""
        self._stopping = True
        for _, _, batch in self._consuming:
            batch.flush()
        if self._connection is not None:
            await self._connection.close()

    async def _hold_connection(self) -> None:
        self._connection = connection = await connect(self._url, f"{self._name} consume", self._tls)
        try:
            for _ in self._prefetch:
                channel = await connection.channel()
                self._consuming.append((channel, "", AckBatch(channel)))
            while True:
                self._changed.clear()
                await self._follow_pause()
                await self._until_changed()
        finally:
            self._consuming = []
            connection.abort(BrokerUnavailable("consumer restarts"))

    async def _follow_pause(self) -> None:
        """Begin or end consuming; what is out stays out, on the same channels."""
        for place, (queue, prefetch) in enumerate(self._prefetch.items()):
            channel, tag, batch = self._consuming[place]
            if self._paused and tag:
                await channel.cancel(tag)
                tag = ""
            elif not self._paused and not tag and not self._stopping:
                tag = await channel.consume(queue, prefetch, self._deliver_from(queue, channel, batch))
                if self._stopping:  # drain() came meanwhile, and found nothing to cancel
                    await channel.cancel(tag)
                    tag = ""
            self._consuming[place] = (channel, tag, batch)

    async def _until_changed(self) -> None:
        """Until the pause begins or ends; raises when a channel is closed."""
        changed: asyncio.Future[Any] = asyncio.ensure_future(self._changed.wait())
        channels = [channel for channel, _, _ in self._consuming]
        try:
            ends: list[asyncio.Future[Any]] = [changed, *(channel.closed for channel in channels)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        for channel in channels:
            if channel.closed.done():
                channel.closed.result()

    def _deliver_from(self, queue: str, channel: Channel, batch: AckBatch) -> OnDeliver:
        on_delivery = self._on_delivery

        def deliver(method: bytes, message_id: str, body: bytes) -> None:
            on_delivery(Delivery(queue, method, message_id, body, channel, batch))

        return deliver
