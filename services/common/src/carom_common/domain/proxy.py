"""Where the egress proxy is and how it is greeted (RFC 9110, 9.3.6). Pure."""

from base64 import b64encode
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

MAX_HEAD = 16_384
"""Bytes of a proxy's answer to CONNECT that are read."""


class Proxy(NamedTuple):
    """An HTTP proxy without TLS of its own; `authorization` is the value of `Proxy-Authorization`, or empty."""

    host: str
    port: int
    authorization: str

    def connect(self, address: str, port: int) -> bytes:
        """The request that opens a tunnel to an address (not a name: the proxy is to look up nothing)."""
        there = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        auth = f"Proxy-Authorization: {self.authorization}\r\n" if self.authorization else ""
        return f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n{auth}\r\n".encode()


def parse_proxy(url: str) -> Proxy:
    """Raises ValueError with what is wrong; never shows the URL, which may hold a password."""
    how = "must be a URL such as http://user:password@proxy.example:3128, without path or query"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(how) from None
    if parts.scheme != "http" or not parts.hostname or not port or parts.path not in ("", "/") or parts.query:
        raise ValueError(how)
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, port, authorization)


def connect_status(head: bytes) -> int | None:
    """The status of the proxy's answer, None when it is no HTTP."""
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or words[0] not in (b"HTTP/1.1", b"HTTP/1.0") or len(words[1]) != 3 or not words[1].isdigit():
        return None
    return int(words[1])
