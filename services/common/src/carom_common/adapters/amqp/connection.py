"""One AMQP connection: handshake, heartbeats, frames in and out. Writes of one loop iteration leave in one call."""

import asyncio
import contextlib
import struct
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import pamqp.commands as spec
import pamqp.frame
from pamqp.exceptions import PAMQPException
from pamqp.header import ProtocolHeader

from carom_common.adapters.amqp import wire
from carom_common.adapters.amqp.channel import Channel
from carom_common.adapters.amqp.errors import BrokerError, BrokerUnavailable
from carom_common.tls import NO_FILES, TlsFiles, client_context, why

HEARTBEAT_SECONDS = 20
CONNECT_SECONDS = 10.0
CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
}


class Connection(asyncio.Protocol):
    """Use `connect()`. `closed` is done, with the reason as its exception, once nothing more can be sent."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._outgoing: list[bytes] = []
        self._channels: dict[int, Channel] = {}
        self._replies: asyncio.Queue[Any] = asyncio.Queue()
        self._last_seen = self._loop.time()
        self._heartbeat: asyncio.TimerHandle | None = None
        self.frame_max = wire.FRAME_MAX
        self.interval = HEARTBEAT_SECONDS
        self.blocked = False
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.closed.add_done_callback(lambda done: done.cancelled() or done.exception())

    @property
    def usable(self) -> bool:
        return not self.closed.done() and not self.blocked

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass
        self._transport = transport
        transport.write(ProtocolHeader().marshal())

    def data_received(self, data: bytes) -> None:
        self._last_seen = self._loop.time()
        self._buffer += data
        try:
            for kind, channel, payload in wire.split(self._buffer):
                if channel:
                    self._channels[channel].on_frame(kind, payload)
                elif kind == wire.METHOD:
                    self._on_connection_method(payload)
        except (ValueError, KeyError, IndexError, struct.error, PAMQPException) as error:
            self.abort(BrokerError(f"unreadable data from the broker: {error!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort(BrokerUnavailable(f"connection lost: {why(exc, 'BROKER') if exc else 'closed by the broker'}"))

    # Sending

    def write(self, data: bytes) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(data)

    def send(self, frame: Any, channel: int = 0) -> None:
        self.write(pamqp.frame.marshal(frame, channel))

    def _flush(self) -> None:
        data, self._outgoing = b"".join(self._outgoing), []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # Life

    async def handshake(self, user: str, password: str, vhost: str, name: str) -> None:
        await self._reply(spec.Connection.Start)
        properties: dict[str, Any] = {"product": "carom", "connection_name": name, "capabilities": CAPABILITIES}
        self.send(spec.Connection.StartOk(properties, "PLAIN", f"\0{user}\0{password}", "en_US"))
        tune = await self._reply(spec.Connection.Tune)
        self.frame_max = min(tune.frame_max or self.frame_max, self.frame_max)
        self.interval = min(tune.heartbeat or HEARTBEAT_SECONDS, HEARTBEAT_SECONDS)
        self.send(spec.Connection.TuneOk(tune.channel_max, self.frame_max, self.interval))
        self.send(spec.Connection.Open(vhost))
        await self._reply(spec.Connection.OpenOk)
        self._beat()

    async def channel(self) -> Channel:
        number = max(self._channels, default=0) + 1
        channel = self._channels[number] = Channel(self, number)
        await channel.rpc(spec.Channel.Open(), spec.Channel.OpenOk)
        return channel

    async def close(self) -> None:
        """Close in order; the broker puts everything unacked back into its queues."""
        if not self.closed.done():
            self.send(spec.Connection.Close(200, "bye", 0, 0))
            with contextlib.suppress(TimeoutError, BrokerError):
                async with asyncio.timeout(2):
                    await self._reply(spec.Connection.CloseOk)
        self.abort(BrokerUnavailable("connection closed"))

    def abort(self, reason: BrokerError) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        if not self.closed.done():
            self.closed.set_exception(reason)
            for channel in self._channels.values():
                channel.shut(reason)
        if self._transport is not None:
            self._transport.abort()

    def _beat(self) -> None:
        if self._loop.time() - self._last_seen > 2 * self.interval:
            self.abort(BrokerUnavailable("the broker missed two heartbeats"))
            return
        self.write(wire.HEARTBEAT_FRAME)
        self._heartbeat = self._loop.call_later(self.interval / 2, self._beat)

    async def _reply(self, expected: type[Any]) -> Any:
        getter = asyncio.ensure_future(self._replies.get())
        try:
            await asyncio.wait((getter, self.closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            getter.cancel()
        if not getter.done():
            self.closed.result()
        frame = getter.result()
        if not isinstance(frame, expected):
            raise BrokerError(f"the broker answered {frame.name} where {expected.__name__} was due")
        return frame

    def _on_connection_method(self, payload: bytes) -> None:
        frame: Any = unmarshal_method(payload)
        match frame:
            case spec.Connection.Blocked():
                self.blocked = True
            case spec.Connection.Unblocked():
                self.blocked = False
            case spec.Connection.Close():
                self.send(spec.Connection.CloseOk())
                self._flush()
                self.abort(BrokerUnavailable(f"closed by the broker: {frame.reply_code} {frame.reply_text}"))
            case _:
                self._replies.put_nowait(frame)


def unmarshal_method(payload: bytes) -> Any:
    head = wire.METHOD.to_bytes(1, "big") + b"\0\0" + len(payload).to_bytes(4, "big")
    return pamqp.frame.unmarshal(head + payload + wire.FRAME_END)[2]


async def connect(url: str, name: str, tls: TlsFiles = NO_FILES) -> Connection:
    """Connect to `amqp[s]://user:password@host:port/vhost`.

    Raises BrokerUnavailable with the reason (refused, timeout, no TLS, access refused, unknown virtual host).
    """
    parts = urlsplit(url)
    secure = parts.scheme == "amqps"
    vhost = unquote(parts.path[1:]) if len(parts.path) > 1 else "/"
    loop = asyncio.get_running_loop()
    connection: Connection | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            context = client_context(tls) if secure else None
            port = parts.port or (5671 if secure else 5672)
            _, connection = await loop.create_connection(Connection, parts.hostname or "localhost", port, ssl=context)
            user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
            await connection.handshake(user, password, vhost, name)
    except (OSError, TimeoutError, BrokerError) as error:
        if connection is not None:
            connection.abort(BrokerUnavailable("handshake failed"))
        raise BrokerUnavailable(f"{parts.hostname}: {why(error, 'BROKER')}") from error
    except asyncio.CancelledError:
        if connection is not None:
            connection.abort(BrokerUnavailable("handshake cancelled"))
        raise
    return connection
