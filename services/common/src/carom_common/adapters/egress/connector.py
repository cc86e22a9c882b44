"""aiohttp's connector, with a stopwatch on it.

It overrides `connect`, and `_wrap_create_connection`, which aiohttp does not promise to keep: the tests in
tests/integration/egress/test_timing.py fail with a version that has changed it.
"""

import ssl
from asyncio import Transport
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError

from carom_common.adapters.egress.stopwatch import Stopwatch, connecting, shown_address
from carom_common.adapters.egress.tunnel import Tunnel

MAX_UNREAD_RESPONSES = 64


class WatchedProtocol(ResponseHandler):
    """Knows to where its connection leads, whether it was used before, and when to end it.

    aiohttp reads on without bound while responses come that nobody has taken yet, such as a flood of `100 Continue`: it
    takes 70 MB a second.
    """

    peer: str | None = None
    used = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if len(self) > MAX_UNREAD_RESPONSES and self.transport is not None:
            self.transport.abort()
            self.set_exception(HttpProcessingError(message="too many responses at once"))


class WatchedConnector(aiohttp.TCPConnector):
    """Tells a call's stopwatch when its connection is made, and to where."""

    def __init__(self, tunnel: Tunnel | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._tunnel = tunnel

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:
        """A connection of the pool, or a new one, for a request of http1."""
        watch: Stopwatch | None = req.watch
        if watch is not None and watch.ready:
            watch.seek()
        connection = await super().connect(req, traces, timeout)
        if watch is not None:
            protocol: Any = connection.protocol
            watch.address = protocol.peer
            watch.ready = perf_counter()
        return connection

    async def _wrap_create_connection(self, *args: Any, **options: Any) -> tuple[Transport, ResponseHandler]:
        watch: Stopwatch | None = options["req"].watch

        def connected() -> WatchedProtocol:
            # The loop asks for the protocol once it has the connected socket, and before it begins TLS. aiohttp's own
            # factory, the first argument, makes a plain ResponseHandler.
            if watch is not None:
                watch.connects(tls=options.get("ssl") is not None)
            return WatchedProtocol(self._loop)

        if self._tunnel is not None:
            return await self._through(self._tunnel, connected, watch, **options)
        token = connecting.set(watch)
        try:
            transport, protocol = await super()._wrap_create_connection(connected, *args[1:], **options)
        finally:
            connecting.reset(token)
        # A reset that came at once leaves no peer.
        assert isinstance(protocol, WatchedProtocol)
        protocol.peer = shown_address(transport.get_extra_info("peername"))
        return transport, protocol

    async def _through(
        self, tunnel: Tunnel, connected: Any, watch: Stopwatch | None, *, addr_infos: Any, req: Any, **options: Any
    ) -> tuple[Transport, ResponseHandler]:
        """The first of the addresses, by way of the proxy; the caller goes on to the next when it fails."""
        address = addr_infos[0][4]
        if watch is not None:
            watch.opened = watch.opened or perf_counter()
        try:
            sock = await tunnel.open(str(address[0]), int(address[1]))
            if watch is not None:
                watch.address = shown_address(address)
            tls = {"ssl": options["ssl"], "server_hostname": options["server_hostname"]} if options["ssl"] else {}
            try:
                transport, protocol = await self._loop.create_connection(connected, sock=sock, **tls)
            except BaseException:
                sock.close()
                raise
        except ssl.CertificateError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        assert isinstance(protocol, WatchedProtocol)
        protocol.peer = shown_address(address)
        return transport, protocol
