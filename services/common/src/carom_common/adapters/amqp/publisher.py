"""Publishing with confirms, for as long as the process lives: reconnects by itself, replays nothing."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import pamqp.commands as spec
import pamqp.encode

from carom_common.adapters.amqp.channel import Channel
from carom_common.adapters.amqp.connection import Connection, connect
from carom_common.adapters.amqp.errors import BrokerError, BrokerUnavailable, PublishUnconfirmed, Unroutable
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.tls import NO_FILES, TlsFiles

CONFIRM_SECONDS = 5.0
GIVE_UP_SECONDS = 3 * CONFIRM_SECONDS
RECONNECT_SECONDS = 1.0

log = get_logger()


class Publisher:
    """`run()` keeps the connection, `publish()` uses it. New message ids are unique: process and count."""

    def __init__(self, url: str, name: str, declare: Callable[[], Awaitable[None]], tls: TlsFiles = NO_FILES) -> None:
        self._url = url
        self._tls = tls
        self._name = name
        self._declare = declare
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._token = os.urandom(6).hex()
        self._count = itertools.count(1)
        self._redeclare = False
        metrics.broker_up.set_function(lambda: self.available)
        metrics.publishes_unconfirmed.set_function(lambda: len(self._channel.unconfirmed) if self._channel else 0)

    @property
    def available(self) -> bool:
        """Connected, and the broker takes messages."""
        return self._channel is not None and self._connection is not None and self._connection.usable

    @property
    def unconfirmed(self) -> tuple[int, float]:
        """How many publishes the broker has not confirmed yet, and for how many seconds the oldest waits."""
        waiting = self._channel.unconfirmed if self._channel is not None else {}
        if not waiting:
            return 0, 0.0
        _, _, since = next(iter(waiting.values()))
        return len(waiting), perf_counter() - since

    @property
    def state(self) -> str:
        if self._connection is not None and self._connection.blocked:
            return "blocked by the broker (memory or disk alarm)"
        return "ok" if self.available else "not connected"

    def new_message_id(self) -> str:
        return f"{self._token}-{next(self._count):x}"

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        headers: dict[str, Any] | None = None,
        message_id: str | None = None,
    ) -> str:
        """Publish, wait for the confirm, return the message id: a new one, unless the same message is put back.

        Raises BrokerUnavailable (nothing sent), PublishUnconfirmed (unknown; also after 5 s without a confirm) or
        Unroutable (the topology is gone: it is declared anew before the next try).
        """
        channel = self._channel
        if channel is None or not self.available:
            raise BrokerUnavailable(self.state)
        message_id = message_id or self.new_message_id()
        table = pamqp.encode.field_table(headers) if headers else b""
        try:
            await channel.publish(exchange, routing_key, body, message_id, table)
        except Unroutable:
            self._redeclare = True
            if self._connection is not None:
                self._connection.abort(BrokerUnavailable("a queue is missing"))
            raise
        return message_id

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        while True:
            try:
                if self._redeclare:
                    await self._declare()
                    self._redeclare = False
                await self._hold_connection()
            except BrokerError as error:
                metrics.broker_disconnects.labels("publish").inc()
                log.warning("publisher_disconnected", reason=str(error))
                if "404" in str(error):  # an exchange is missing, which no message is returned for
                    self._redeclare = True
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _hold_connection(self) -> None:
        connection = await connect(self._url, f"{self._name} publish", self._tls)
        try:
            channel = await connection.channel()
            await channel.rpc(spec.Confirm.Select(), spec.Confirm.SelectOk)
            self._connection, self._channel = connection, channel
            while not channel.closed.done():
                await asyncio.wait((channel.closed,), timeout=CONFIRM_SECONDS / 5)
                if _fail_overdue(channel):
                    raise BrokerUnavailable("the broker confirms nothing any more")
            channel.closed.result()
        finally:
            self._channel = None
            await connection.close()


def _fail_overdue(channel: Channel) -> bool:
    """Tell who waits too long; True when the oldest publish is so old that another connection is worth a try."""
    now = perf_counter()
    for future, _, sent_at in channel.unconfirmed.values():
        if now - sent_at < CONFIRM_SECONDS:
            break
        if not future.done():
            future.set_exception(PublishUnconfirmed(f"no confirm within {CONFIRM_SECONDS:.0f} s"))
    oldest = next(iter(channel.unconfirmed.values()), None)
    return oldest is not None and now - oldest[2] > GIVE_UP_SECONDS
