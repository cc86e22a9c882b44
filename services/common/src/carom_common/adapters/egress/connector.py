"""aiohttp's connector, with a stopwatch on it.

It overrides `connect`, and `_wrap_create_connection`, which aiohttp does not promise to keep: the tests in
tests/integration/egress/test_timing.py fail with a version that has changed it.
"""

import asyncio
import socket
import ssl
from asyncio import Transport
from collections.abc import Callable
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError

from carom_common.adapters.egress.errors import AddressRefused
from carom_common.adapters.egress.stopwatch import Stopwatch, connecting, shown_address
from carom_common.adapters.egress.tunnel import Tunnel
from carom_common.cancelling import answer_cancellation, cancellations

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
    """Tells a call's stopwatch when its connection is made, and to where.

    `check(address)` says why an address is refused, None if it is not.
    """

    def __init__(self, check: Callable[[str], str | None], tunnel: Tunnel | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._check = check
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

    async def _wrap_create_connection(
        self, *_: Any, addr_infos: list[AddrInfoType], req: Any, timeout: Any, **options: Any
    ) -> tuple[Transport, ResponseHandler]:
        watch: Stopwatch | None = req.watch
        if self._tunnel is not None:
            made = self._through(self._tunnel, addr_infos[0], watch, **options)
        elif len(addr_infos) == 1 and options["ssl"] is None and timeout.sock_connect is None:
            made = self._straight(addr_infos[0], watch)
        else:
            return await self._raced(watch, addr_infos=addr_infos, req=req, timeout=timeout, **options)
        try:
            return await made
        except ssl.CertificateError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error

    async def _straight(self, info: AddrInfoType, watch: Stopwatch | None) -> tuple[Transport, WatchedProtocol]:
        """To the only address there is, without TLS.

        There is nothing to race, and the loop that makes its own socket takes 70 us less than one that is given one.
        """
        family, _, protocol_number, _, address = info
        host, port = str(address[0]), int(address[1])
        if (why := self._check(host)) is not None:
            raise AddressRefused(why)
        if watch is not None:
            watch.opened = watch.opened or perf_counter()
        transport, protocol = await self._loop.create_connection(
            lambda: WatchedProtocol(self._loop),
            host,
            port,
            family=family,
            proto=protocol_number,
            flags=socket.AI_NUMERICHOST,  # what was checked is what is called: no name is ever looked up here
        )
        protocol.peer = shown_address(transport.get_extra_info("peername") or address)
        return transport, protocol

    async def _raced(self, watch: Stopwatch | None, **options: Any) -> tuple[Transport, WatchedProtocol]:
        """To whichever of the addresses answers first, with TLS where it is wanted (RFC 8305)."""
        token, before = connecting.set(watch), cancellations()
        try:
            transport, protocol = await super()._wrap_create_connection(self._maker(watch, options["ssl"]), **options)
        except Exception:
            answer_cancellation(before)
            raise
        finally:
            connecting.reset(token)
        if cancellations() > before:  # aiohappyeyeballs loses one that comes while it ends who lost the race
            transport.abort()
            raise asyncio.CancelledError
        # A reset that came at once leaves no peer.
        assert isinstance(protocol, WatchedProtocol)
        protocol.peer = shown_address(transport.get_extra_info("peername"))
        return transport, protocol

    async def _through(
        self, tunnel: Tunnel, info: AddrInfoType, watch: Stopwatch | None, **options: Any
    ) -> tuple[Transport, WatchedProtocol]:
        """To the first of the addresses, by way of the proxy; the caller goes on to the next when it fails."""
        address = info[4]
        if watch is not None:
            watch.opened = watch.opened or perf_counter()
        sock = await tunnel.open(str(address[0]), int(address[1]))
        if watch is not None:
            watch.address = shown_address(address)
        tls = {"ssl": options["ssl"], "server_hostname": options["server_hostname"]} if options["ssl"] else {}
        try:
            made = await self._loop.create_connection(self._maker(watch, options["ssl"]), sock=sock, **tls)
        except BaseException:
            sock.close()
            raise
        transport, protocol = made
        protocol.peer = shown_address(address)
        return transport, protocol

    def _maker(self, watch: Stopwatch | None, tls: ssl.SSLContext | None) -> Callable[[], WatchedProtocol]:
        """The loop asks for the protocol once it has the connected socket, and before it begins TLS."""

        def connected() -> WatchedProtocol:
            if watch is not None:
                watch.connects(tls=tls is not None)
            return WatchedProtocol(self._loop)

        return connected
