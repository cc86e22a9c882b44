"""A destination is what limits and circuits are kept for: the host and port of a URL."""

import re
from functools import lru_cache
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"[^/]*//[^/?#]*")


def destination_of(url: str) -> str:
    """`host`, or `host:port` where the port is not the scheme's own; in lower case, IPv6 in brackets.

    Empty for what is no URL: a message of somebody else's must not stop the loop that takes it, and its call will fail.
    """
    return _destination(origin_of(url))


def origin_of(url: str) -> str:
    """Scheme, host and port as they stand in the URL: what many URLs have in common. What is no URL stays whole."""
    origin = _ORIGIN.match(url)
    return origin[0] if origin else url


@lru_cache(maxsize=4096)
def _destination(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f"{host}:{port}"
