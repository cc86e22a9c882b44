"""What can go wrong with an outgoing call, in words fit for users of the API: no headers, URLs or response data."""

import errno
import socket
import ssl
from collections.abc import Callable
from typing import Final, Literal

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from carom_common.adapters.egress.stopwatch import Stopwatch

Reason = Literal[
    "refused", "timeout", "dns", "connect", "proxy", "tls", "protocol", "too-many-redirects", "invalid-url"
]

_FINAL: Final = frozenset({"refused", "too-many-redirects", "invalid-url"})
_CONNECT_ERRORS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by the server",
    errno.ECONNABORTED: "connection aborted",
    errno.ETIMEDOUT: "connection timed out",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "no route to the network",
}


class EgressError(Exception):
    """An outgoing call without a usable response. `retryable` says whether the same call may succeed later.

    `EgressClient.send` adds how far the call came.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Final = reason
        self.by: Literal["address", "rules"] = "address"
        """Of a refusal: whether the address is not allowed, or the rules of the tenant."""
        self.watch: Stopwatch | None = None

    @property
    def retryable(self) -> bool:
        return self.reason not in _FINAL


class AddressRefused(OSError):
    """The address policy forbids this connection. An OSError, so that aiohttp carries it like any failed connect."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EACCES, why)

    @property
    def why(self) -> str:
        return str(self.strerror)


class ProxyFailed(OSError):
    """The egress proxy makes no tunnel; nothing is known of the destination."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EHOSTUNREACH, why)

    @property
    def why(self) -> str:
        return str(self.strerror)


def refused(why: str) -> EgressError:
    return EgressError("refused", f"refused by the egress guard: {why}")


def timed_out(seconds: float) -> EgressError:
    return EgressError("timeout", f"timed out after {seconds * 1000:.0f} ms")


ERRORS: Final = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)
"""What the connector and the parser raise. To be replaced, not chained: their texts and attributes hold the URL and
headers, which a log must not show."""


def translate(error: BaseException) -> EgressError:
    """One of `ERRORS` as ours. The order matters: its classes overlap."""
    for kind, make in _TRANSLATIONS:
        if isinstance(error, kind):
            return make(error)
    return EgressError("protocol", "the response is not valid HTTP")


def _connector(error: aiohttp.ClientConnectorError) -> EgressError:
    cause = error.os_error
    if isinstance(cause, AddressRefused):
        return refused(cause.why)
    if isinstance(cause, ProxyFailed):
        return EgressError("proxy", cause.why)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        verb = "cannot be resolved now" if cause.errno == socket.EAI_AGAIN else "does not resolve"
        return EgressError("dns", f"the name {error.host} {verb}")
    if isinstance(cause, ssl.SSLError):
        return _tls(cause)
    return EgressError("connect", _CONNECT_ERRORS.get(cause.errno or 0, "the connection failed"))


def _tls(cause: BaseException) -> EgressError:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return EgressError("tls", f"the server's certificate is not valid: {cause.verify_message.rstrip('.')}")
    return EgressError("tls", "the TLS handshake failed")


def _certificate(error: aiohttp.ClientConnectorCertificateError) -> EgressError:
    return _tls(error.certificate_error)


def _response(error: HttpProcessingError) -> EgressError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LineTooLong):
            return EgressError("protocol", "the headers of the response are too large")
        cause = cause.__cause__
    return EgressError("protocol", "the response is not valid HTTP")


def _fixed(reason: Reason, message: str) -> Callable[[BaseException], EgressError]:
    return lambda _: EgressError(reason, message)


def _os_error(error: OSError) -> EgressError:
    return EgressError("protocol", _CONNECT_ERRORS.get(error.errno or 0, "the connection broke"))


_TRANSLATIONS: Final[tuple[tuple[type[BaseException], Callable[..., EgressError]], ...]] = (
    (aiohttp.ClientConnectorCertificateError, _certificate),
    (aiohttp.ClientConnectorError, _connector),
    (aiohttp.InvalidURL, _fixed("invalid-url", "the URL is not valid")),
    (aiohttp.ServerDisconnectedError, _fixed("protocol", "the server closed the connection without a response")),
    (TimeoutError, _fixed("timeout", "timed out")),
    (aiohttp.ClientPayloadError, _fixed("protocol", "the body of the response is broken or incomplete")),
    (HttpProcessingError, _response),
    (OSError, _os_error),
    (aiohttp.ClientConnectionError, _fixed("protocol", "the connection broke")),
    (ValueError, _fixed("protocol", "the request cannot be written: a header or the method is not valid")),
)
