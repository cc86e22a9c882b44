"""One outgoing call, bounded in time, size and redirects."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Protocol

import httpx

from carom_common.adapters.egress.body import read_body
from carom_common.adapters.egress.errors import EgressError, refused, timed_out
from carom_common.adapters.egress.seam import HttpxOpener
from carom_common.adapters.egress.stopwatch import Stopwatch
from carom_common.adapters.egress.transport import Exchange, GuardedTransport, parse_url, resolve_url
from carom_common.domain.egress_rules import HostList
from carom_common.domain.redaction import is_secret

MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# What no other origin gets beside secrets: a name the caller chose for the first server means nothing to another one.
_ITS_OWN: Final = "host"


@dataclass(slots=True)
class OutboundRequest:
    """A call to make. `timeout` is in seconds and covers everything: DNS, connect, TLS, every redirect, the body."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    timeout: float
    follow_redirects: bool = False
    hosts: HostList | None = None
    """The only hosts that may be called, here and after each redirect; None: any that the transport lets through."""


@dataclass(slots=True)
class OutboundResponse:
    """What came back. `headers` are as sent and compare without case; `body` is decoded; `truncated` if cut.

    `watch` has where the time went and which address answered; None where another transport does not tell it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    watch: Stopwatch


class _Opener(Protocol):
    async def open(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, watch: Stopwatch
    ) -> Exchange: ...

    async def aclose(self) -> None: ...


class EgressClient:
    """Makes calls through a transport it owns; keeps at most `max_response_bytes` of each decoded body."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, max_response_bytes: int) -> None:
        self._opener: _Opener = transport if isinstance(transport, GuardedTransport) else HttpxOpener(transport)
        self._limit = max_response_bytes

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """Raises EgressError when there is no complete response; any status, 3xx and 5xx included, is a response."""
        headers = request.headers
        if not any(map(_is_accept_encoding, headers)):
            headers = {**headers, "Accept-Encoding": "identity"}
        now = perf_counter()
        watch = Stopwatch(now, now)
        try:
            if request.hosts is not None:
                check_host(request.url, request.hosts)
            async with asyncio.timeout(request.timeout):
                exchange = await self._opener.open(request.method, request.url, headers, request.body, watch)
                if request.follow_redirects and exchange.status in _REDIRECTS:
                    exchange = await self._follow(exchange, request, headers, watch)
                try:
                    body, truncated = await read_body(exchange, self._limit)
                finally:
                    await exchange.close()
        except TimeoutError:
            raise _timed(timed_out(request.timeout), watch) from None
        except EgressError as error:
            _timed(error, watch)
            raise
        watch.ended = perf_counter()
        return OutboundResponse(exchange.status, exchange.headers, body, truncated, watch)

    async def close(self) -> None:
        await self._opener.aclose()

    async def _follow(
        self, exchange: Exchange, request: OutboundRequest, headers: Mapping[str, str], watch: Stopwatch
    ) -> Exchange:
        """The first response that is no redirect. Each hop passes the guard like a call of its own (RFC 9110, 15.4)."""
        method, url, body = request.method, request.url, request.body
        for _ in range(MAX_REDIRECTS):
            status, location = exchange.status, exchange.headers.get("Location")
            if status not in _REDIRECTS or location is None:
                return exchange
            await exchange.close()
            if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
                method, body = "GET", None
                headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
            url, same_origin = resolve_url(url, location)
            if not same_origin:
                headers = {
                    name: value for name, value in headers.items() if name.lower() != _ITS_OWN and not is_secret(name)
                }
            if request.hosts is not None:
                check_host(url, request.hosts)
            watch.next_hop()
            exchange = await self._opener.open(method, url, headers, body, watch)
        if exchange.status in _REDIRECTS and "Location" in exchange.headers:
            await exchange.close()
            raise EgressError("too-many-redirects", f"more than {MAX_REDIRECTS} redirects")
        return exchange


def check_host(url: str, hosts: HostList) -> None:
    """Raises EgressError `refused` when the URL's host is not on the list."""
    if (why := hosts.refusal(parse_url(url).raw_host or "")) is not None:
        error = refused(why)
        error.by = "rules"
        raise error


def _is_accept_encoding(name: str) -> bool:
    return len(name) == 15 and name.lower() == "accept-encoding"


def _timed(error: EgressError, watch: Stopwatch) -> EgressError:
    watch.ended = perf_counter()
    error.watch = watch
    return error
