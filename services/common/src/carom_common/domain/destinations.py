"""A destination is what limits and circuits are kept for: the host and port of a URL."""

import re
from functools import lru_cache
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"[^/]*//[^/?#]*")


def destination_of(url: str) -> str:
    """`host`, or `host:port` where the port is not the scheme's own; in lower case, IPv6 in brackets."""
    origin = _ORIGIN.match(url)
    return _destination(origin[0] if origin else url)


@lru_cache(maxsize=4096)
def _destination(origin: str) -> str:
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    return host if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f"{host}:{port}"
