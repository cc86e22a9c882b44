"""HTTP/1.1 over connections of aiohttp: its connector and its parser, without its session.

What a session does for each request (cookies, redirects, tracing, a task to write the body) is never used here and was
a fifth to a half of what a call cost (ADR 21). Whatever aiohttp asks of a request is in `Request`; the tests in
tests/integration/egress fail with a version that asks for more.
"""

import re
from collections.abc import Iterable, Mapping
from ssl import SSLContext
from typing import Any, Final

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from carom_common.adapters.egress.connector import WatchedConnector, WatchedProtocol
from carom_common.adapters.egress.errors import ERRORS, translate
from carom_common.adapters.egress.stopwatch import Stopwatch

# RFC 9110, 9.2.2: to repeat them does no more than to make them once.
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# RFC 9110, 5.6.2 and 5.5: methods and names of headers are tokens, and no value ends its line.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE_END: Final = re.compile(r"[\r\n\0]")


class Request:
    """What aiohttp's connector asks of a request: where it goes, and how. No proxy: ours is a tunnel."""

    __slots__ = ("connection_key", "ssl", "url", "watch")

    proxy = proxy_auth = proxy_headers = server_hostname = None

    def __init__(self, url: URL, tls: SSLContext | None, watch: Stopwatch | None) -> None:
        self.url = url
        self.watch = watch
        self.ssl: SSLContext | bool = True if tls is None else tls
        """True: the system's CAs, and no certificate of ours. Each context has connections of its own."""
        key = (url.raw_host, url.port, url.scheme == "https", self.ssl, None, None, None, None)
        self.connection_key = tuple.__new__(ConnectionKey, key)

    def is_ssl(self) -> bool:
        return self.url.scheme == "https"

    @property
    def port(self) -> int | None:
        return self.url.port


class Exchange:
    """A response whose status and headers are here and whose body is still to be read."""

    __slots__ = ("_connection", "_content", "headers", "raw_headers", "reason", "status")

    def __init__(self, connection: Connection, message: Any, content: aiohttp.StreamReader) -> None:
        self._connection: Connection | None = connection
        self._content = content
        self.status: int = message.code
        self.reason: str = message.reason or ""
        self.raw_headers: tuple[tuple[bytes, bytes], ...] = message.raw_headers
        headers: Mapping[str, str] = message.headers
        if not all(map(str.isascii, headers.values())):
            # aiohttp leaves lone surrogates for bytes that are not UTF-8, which no JSON encoder takes.
            headers = CIMultiDict((name.decode("ascii"), _text(value)) for name, value in self.raw_headers)
        self.headers = headers
        content.on_eof(self._over)

    async def read(self) -> bytes:
        """The next piece of the body, as sent (not decoded); empty at the end. Raises EgressError."""
        try:
            return await self._content.readany()
        except ERRORS as error:
            raise translate(error) from None

    async def close(self) -> None:
        """Drop what is unread, closing the connection; after the end of the body there is nothing to drop."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _over(self) -> None:
        """The body ended: others may have the connection, unless the answer came before all of the request was out."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is None or transport.get_write_buffer_size():
            connection.close()
        else:
            connection.release()


async def exchange(
    connector: WatchedConnector,
    method: str,
    request: Request,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout: aiohttp.ClientTimeout,
) -> Exchange:
    """Send a request and wait for the headers of its response. Raises `ERRORS`.

    An idempotent request is sent once more when the connection was used before and turns out to be closed.
    """
    head = head_of(method, request.url, headers.items(), body)
    while True:
        try:
            connection = await connector.connect(request, [], timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("connecting took too long") from error
        protocol: Any = connection.protocol
        assert isinstance(protocol, WatchedProtocol)
        reused, protocol.used = protocol.used, True
        try:
            return await _sent(connection, protocol, method, head, body, timeout.sock_read)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            connection.close()
            if not reused or method not in _IDEMPOTENT:
                raise
        except BaseException:
            connection.close()
            raise


async def _sent(
    connection: Connection,
    protocol: WatchedProtocol,
    method: str,
    head: bytes,
    body: bytes | None,
    read_timeout: float | None,
) -> Exchange:
    protocol.set_response_params(
        skip_payload=method == "HEAD", read_until_eof=True, auto_decompress=False, read_timeout=read_timeout
    )
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise aiohttp.ServerDisconnectedError
    # Nothing waits until it is out: it is in memory anyway, and the answer may come before.
    if body:
        transport.writelines((head, body))
    else:
        transport.write(head)
    protocol.start_timeout()
    while True:
        message, content = await protocol.read()
        if not 100 <= message.code <= 199 or message.code == 101:
            return Exchange(connection, message, content)


def head_of(method: str, url: URL, headers: Iterable[tuple[str, str]], body: bytes | None) -> bytes:
    """The request line and the headers, with `Host` and the length of the body. ValueError for what is none."""
    host = url.host_port_subcomponent
    fields = ""
    for name, value in headers:
        if _TOKEN.fullmatch(name) is None or (not value.isprintable() and _LINE_END.search(value)):
            raise ValueError("a header would be read as something else")
        if len(name) == 4 and name.lower() == "host":
            host = value
        else:
            fields += f"{name}: {value}\r\n"
    if body is not None or method not in _WITHOUT_BODY:
        fields += f"Content-Length: {len(body) if body else 0}\r\n"
    if _TOKEN.fullmatch(method) is None:
        raise ValueError("the method would be read as something else")
    return f"{method} {url.raw_path_qs} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
