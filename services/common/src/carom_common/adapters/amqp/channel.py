"""One AMQP channel, for publishing with confirms or for consuming; never both."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pamqp.commands as spec
import pamqp.frame

from carom_common.adapters.amqp import wire
from carom_common.adapters.amqp.errors import BrokerError, BrokerUnavailable, PublishUnconfirmed, Unroutable
from carom_common.telemetry import metrics

if TYPE_CHECKING:
    from carom_common.adapters.amqp.connection import Connection

_confirm_seconds = metrics.publish_confirm_seconds.labels()

OnDeliver = Callable[[bytes, str, bytes], None]
"""Called with the Basic.Deliver as it came, message id and body."""


class Channel:
    """Methods go out by `rpc`; `closed` is done once the broker or the connection ended the channel."""

    def __init__(self, connection: "Connection", number: int) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.number = number
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.closed.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._reply: asyncio.Future[Any] | None = None
        self._rpc_lock = asyncio.Lock()
        self._prefixes: dict[tuple[str, str], bytes] = {}
        self._next_tag = 1
        self.unconfirmed: dict[int, tuple[asyncio.Future[None], str, float]] = {}
        self._on_deliver: OnDeliver | None = None
        self._method: bytes = b""
        self._missing = 0
        self._message_id = ""
        self._body: list[bytes] = []

    async def rpc(self, frame: Any, expected: type[Any]) -> Any:
        """Send a method and wait for its reply; raises the channel's close reason."""
        async with self._rpc_lock:
            if self.closed.done():
                self.closed.result()
            self._reply = self._loop.create_future()
            self._connection.send(frame, self.number)
            reply = await self._reply
        if not isinstance(reply, expected):
            raise BrokerError(f"the broker answered {reply.name} where {expected.__name__} was due")
        return reply

    # Publishing

    def publish(
        self, exchange: str, routing_key: str, body: bytes, message_id: str, headers: bytes
    ) -> asyncio.Future[None]:
        """Send a persistent, mandatory message. The future is done when the broker has confirmed it."""
        confirmed: asyncio.Future[None] = self._loop.create_future()
        if self.closed.done():
            confirmed.set_exception(BrokerUnavailable("channel closed"))
            return confirmed
        key = (exchange, routing_key)
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = self._prefixes[key] = wire.publish_prefix(self.number, exchange, routing_key)
        connection = self._connection
        connection.write(prefix + wire.content(self.number, body, message_id, headers, connection.frame_max))
        self.unconfirmed[self._next_tag] = (confirmed, message_id, perf_counter())
        self._next_tag += 1
        return confirmed

    def _on_confirm(self, payload: bytes, acked: bool) -> None:
        tag, multiple = wire.parse_ack(payload)
        if not multiple:
            self._confirm(tag, acked)
            return
        # Tags were inserted in order: "multiple" is a prefix of the dict.
        while self.unconfirmed and (oldest := next(iter(self.unconfirmed))) <= tag:
            self._confirm(oldest, acked)

    def _confirm(self, tag: int, acked: bool) -> None:
        entry = self.unconfirmed.pop(tag, None)
        if entry is None or entry[0].done():
            return
        if acked:
            _confirm_seconds.observe(perf_counter() - entry[2])
            entry[0].set_result(None)
        else:
            entry[0].set_exception(PublishUnconfirmed("the broker refused the message"))

    def _on_return(self, message_id: str) -> None:
        code, text = wire.parse_return(self._method)
        for future, known, _ in self.unconfirmed.values():
            if known == message_id and not future.done():
                future.set_exception(Unroutable(f"{code} {text}"))

    # Consuming

    async def consume(self, queue: str, prefetch: int, on_deliver: OnDeliver) -> str:
        """Start a consumer; returns its tag. Unacked deliveries are bounded by `prefetch`."""
        self._on_deliver = on_deliver
        await self.rpc(spec.Basic.Qos(0, prefetch, False), spec.Basic.QosOk)
        tag: str = (await self.rpc(spec.Basic.Consume(queue=queue), spec.Basic.ConsumeOk)).consumer_tag
        return tag

    async def cancel(self, consumer_tag: str) -> None:
        await self.rpc(spec.Basic.Cancel(consumer_tag), spec.Basic.CancelOk)

    def ack(self, tag: int, multiple: bool = False) -> None:
        self._connection.write(wire.ack(self.number, tag, multiple))

    def requeue(self, tag: int) -> None:
        self._connection.write(wire.nack(self.number, tag, False, True))

    # Frames from the broker

    def on_frame(self, kind: int, payload: bytes) -> None:
        if kind == wire.BODY:
            self._missing -= len(payload)
            self._body.append(payload)
        elif kind == wire.HEADER:
            self._missing, self._message_id = wire.parse_header(payload)
        else:
            self._on_method(payload)
            return
        if self._missing <= 0:
            parts, self._body = self._body, []  # not kept until the next one comes: it may be large
            self._on_content(parts[0] if len(parts) == 1 else b"".join(parts))

    def _on_content(self, body: bytes) -> None:
        method = int.from_bytes(self._method[:4], "big")
        if method == wire.BASIC_RETURN:
            self._on_return(self._message_id)
        elif self._on_deliver is not None and not self.closed.done():
            self._on_deliver(self._method, self._message_id, body)

    def _on_method(self, payload: bytes) -> None:
        method = int.from_bytes(payload[:4], "big")
        if method in (wire.BASIC_DELIVER, wire.BASIC_RETURN):
            self._method = payload
        elif method == wire.BASIC_ACK or method == wire.BASIC_NACK:
            self._on_confirm(payload, method == wire.BASIC_ACK)
        else:
            self._on_rare_method(payload)

    def _on_rare_method(self, payload: bytes) -> None:
        head = wire.METHOD.to_bytes(1, "big") + self.number.to_bytes(2, "big") + len(payload).to_bytes(4, "big")
        frame: Any = pamqp.frame.unmarshal(head + payload + wire.FRAME_END)[2]
        if isinstance(frame, spec.Channel.Close):
            self._connection.send(spec.Channel.CloseOk(), self.number)
            self.shut(BrokerError(f"channel closed by the broker: {frame.reply_code} {frame.reply_text}"))
        elif isinstance(frame, spec.Basic.Cancel):
            self.shut(BrokerError("the broker cancelled the consumer: its queue is gone or has moved"))
        elif self._reply is not None and not self._reply.done():
            self._reply.set_result(frame)

    def shut(self, reason: BrokerError) -> None:
        """No more frames will come or go: everyone who waits learns why."""
        if self.closed.done():
            return
        self.closed.set_exception(reason)
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(reason)
        for future, _, _ in self.unconfirmed.values():
            if not future.done():
                future.set_exception(PublishUnconfirmed(str(reason)))
                future.exception()  # the caller may be gone
        self.unconfirmed.clear()
