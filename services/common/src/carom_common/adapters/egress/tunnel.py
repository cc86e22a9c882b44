"""Connections through the egress proxy, where one is configured: then there is no other way out.

The proxy is asked for the address that the guard has passed, never for a name, so that it has nothing to look up that
could lead elsewhere. What it connects to is its own affair: it should refuse private addresses too.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from carom_common.adapters.egress.errors import AddressRefused, ProxyFailed
from carom_common.domain.proxy import MAX_HEAD, Proxy, connect_status

REFUSALS: Final = frozenset({403})
NOT_HTTP: Final = "the egress proxy does not answer in HTTP"


class Tunnel:
    """Makes tunnels to checked addresses. `check(address)` says why an address is refused, None if it is not."""

    def __init__(self, proxy: Proxy, check: Callable[[str], str | None]) -> None:
        self._proxy = proxy
        self._check = check

    async def open(self, address: str, port: int) -> socket.socket:
        """A connected socket whose other end is the address. Raises AddressRefused and ProxyFailed."""
        if (why := self._check(address)) is not None:
            raise AddressRefused(why)
        sock = await self._reach()
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, self._proxy.connect(address, port))
            head = await _read_head(loop, sock)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError) and not isinstance(error, ProxyFailed):
                raise ProxyFailed("the connection to the egress proxy broke") from error
            raise
        status = connect_status(head)
        if status is not None and 200 <= status < 300:
            return sock
        sock.close()
        if status in REFUSALS:
            raise AddressRefused(f"the egress proxy answered {status}")
        raise ProxyFailed(f"the egress proxy answered {status}" if status else NOT_HTTP)

    async def _reach(self) -> socket.socket:
        """Connect to the proxy, whose address is the operator's and under no policy."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._proxy.host, self._proxy.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ProxyFailed("the name of the egress proxy cannot be resolved") from error
        last: OSError | None = None
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
        raise ProxyFailed("the egress proxy cannot be reached") from last


async def _read_head(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """The head of the answer, and not a byte more: what follows belongs to the target's connection.

    A target speaks first in no protocol of ours, so that a byte more means a proxy that is not one.
    """
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > MAX_HEAD:
            raise ProxyFailed(NOT_HTTP)
        part = await loop.sock_recv(sock, 4096)
        if not part:
            raise ProxyFailed("the egress proxy closed the connection")
        head += part
    if head.index(b"\r\n\r\n") + 4 != len(head):
        raise ProxyFailed("the egress proxy sent more than its answer")
    return head
