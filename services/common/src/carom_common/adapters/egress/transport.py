"""The guarded transport, the only way out: an httpx transport outside, one aiohttp connection pool inside."""

import re
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from time import perf_counter
from typing import Final, Protocol

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from carom_common.adapters.egress import http1
from carom_common.adapters.egress.connector import WatchedConnector
from carom_common.adapters.egress.errors import ERRORS, EgressError, refused, translate
from carom_common.adapters.egress.guard import Guard, allowed_host
from carom_common.adapters.egress.stopwatch import Stopwatch
from carom_common.adapters.egress.tunnel import Tunnel
from carom_common.domain.address_policy import AddressPolicy
from carom_common.domain.framing import FRAMING_HEADERS
from carom_common.domain.outbound import ANYTHING, Outbound
from carom_common.domain.proxy import Proxy
from carom_common.tls_hosts import TlsHosts

# Below the 5 s after which Node closes an idle connection, so that a POST is seldom sent into a closing one.
KEEPALIVE_SECONDS: Final = 4.0

_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986, 2: sent as it is; anything else is quoted
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)


@lru_cache(maxsize=1024)
def parse_url(url: str) -> URL:
    """An absolute http(s) URL without credentials; EgressError `invalid-url` otherwise.

    Remembered: whoever checks a URL and whoever calls it read it one after the other.
    """
    try:
        target = URL(url, encoded=True) if _URL.fullmatch(url) else _quoted(url)
        host, scheme, user, password = target.raw_host, target.scheme, target.raw_user, target.raw_password
    except ValueError:
        raise EgressError("invalid-url", "the URL is not valid") from None
    if scheme not in ("http", "https"):
        raise EgressError("invalid-url", "the URL's scheme is neither http nor https")
    if not host:
        raise EgressError("invalid-url", "the URL names no host")
    if user is not None or password is not None:
        raise EgressError("invalid-url", "the URL contains credentials")
    return target


def resolve_url(base: str, location: str) -> tuple[str, bool]:
    """Where a redirect leads, and whether that is the same origin (RFC 9110, 10.2.2). EgressError `invalid-url`."""
    origin = parse_url(base)
    try:
        target = str(origin.join(URL(location, encoded=_URL.fullmatch(location) is not None)))
    except ValueError:
        raise EgressError("invalid-url", "the redirect's location is not a valid URL") from None
    there = parse_url(target)
    return target, _origin(there) == _origin(origin)


def _origin(url: URL) -> tuple[str, str, int | None]:
    return url.scheme, (url.raw_host or "").lower(), url.port


def _quoted(url: str) -> URL:
    target = URL(url)
    if _CONTROL.search(url) or not _URL.fullmatch(str(target)):
        raise ValueError("what is not allowed stands where it cannot be quoted, such as in the host")
    return target


class Exchange(Protocol):
    """A response whose status and headers are here and whose body is still to be read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes:
        """The next piece of the body, as sent (not decoded); empty at the end. Raises EgressError."""
        ...

    async def close(self) -> None:
        """Drop what is unread, closing the connection; after the end of the body there is nothing to drop."""
        ...


class GuardedTransport(httpx.AsyncBaseTransport):
    """Calls out under an address policy. To be made inside the event loop that will use it.

    No cookies, no redirects, no proxies or credentials from the environment, no timeouts of its own: the caller bounds
    each call. With a `proxy` every connection goes through it. `connections_per_host` limits connections to one origin
    (0: no limit). Idle connections are kept for 4 s and DNS answers for 10 s; every new connection's address is judged.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        outbound: Outbound = ANYTHING,
        proxy: Proxy | None = None,
        tls: TlsHosts | None = None,
        resolver: AbstractResolver | None = None,
        connections_per_host: int = 0,
    ) -> None:
        self._policy = policy
        self._outbound = outbound
        self._ports = outbound.ports.refused
        self._tls = tls
        self._guard = Guard(policy, resolver)
        self._connector = WatchedConnector(
            self._guard.refusal,
            Tunnel(proxy, self._guard.refusal) if proxy is not None else None,
            limit=0,
            limit_per_host=connections_per_host,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=10,
            resolver=self._guard,
            socket_factory=self._guard.open_socket,
        )

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        watch: Stopwatch | None = None,
        timeout: aiohttp.ClientTimeout = _NO_TIMEOUT,
    ) -> http1.Exchange:
        """Send the request and wait for the headers of its response, timed by `watch`. Raises EgressError.

        Sends the headers it is given, `Host` and the framing of the body; nothing else.
        """
        target = parse_url(url)
        if self._ports[target.port or 0] or target.scheme not in self._outbound.schemes:
            raise refused(self._outbound.refusal(target.scheme, target.port) or "")
        rule = self._policy.host_rule(target.raw_host or "")
        if rule == "deny":
            raise refused(f"{target.raw_host} is denied by configuration")
        if not FRAMING_HEADERS.isdisjoint(map(str.lower, headers)):
            # A wrong Content-Length would shift the next request on a shared connection.
            kept = ((name, value) for name, value in headers.items() if name.lower() not in FRAMING_HEADERS)
            headers = CIMultiDict(kept)
        tls = self._tls.context(target.raw_host or "") if self._tls is not None else None
        request = http1.Request(target, tls, watch)
        # Not under way before it is awaited.
        call = http1.exchange(self._connector, method, request, headers, body, timeout)
        try:
            if rule == "allow":
                with allowed_host():
                    exchange = await call
            else:
                exchange = await call
        except ERRORS as error:
            raise translate(error) from None
        if watch is not None:
            watch.answered = perf_counter()
        return exchange

    async def aclose(self) -> None:
        await self._connector.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The httpx side: buffers the request's body, streams the response's, and honours httpx's timeouts."""
        limits = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(
            total=None, connect=limits.get("connect"), sock_read=limits.get("read"), ceil_threshold=1e9
        )
        try:
            exchange = await self.open(
                request.method,
                str(request.url),
                CIMultiDict(request.headers.multi_items()),
                await request.aread() or None,
                timeout=timeout,
            )
        except EgressError as error:
            raise _as_httpx(error)(str(error), request=request) from error
        return httpx.Response(
            exchange.status,
            headers=list(exchange.raw_headers),
            stream=_HttpxStream(exchange, request),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": exchange.reason.encode("ascii", "replace"),
            },
        )


class _HttpxStream(httpx.AsyncByteStream):
    def __init__(self, exchange: http1.Exchange, request: httpx.Request) -> None:
        self._exchange = exchange
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._exchange.read():
                yield chunk
        except EgressError as error:
            raise _as_httpx(error)(str(error), request=self._request) from error

    async def aclose(self) -> None:
        await self._exchange.close()


def _as_httpx(error: EgressError) -> type[httpx.RequestError]:
    match error.reason:
        case "timeout":
            return httpx.ConnectTimeout if _while_connecting(error) else httpx.ReadTimeout
        case "invalid-url":
            return httpx.UnsupportedProtocol
        case "protocol":
            return httpx.RemoteProtocolError
        case _:
            return httpx.ConnectError


def _while_connecting(error: EgressError) -> bool:
    return isinstance(error.__context__, aiohttp.ConnectionTimeoutError)
