"""A destination is what limits and circuits are kept for: the host and port of a URL."""

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def destination_of(url: str) -> str:
    """`host`, or `host:port` where the port is not the scheme's own; in lower case, IPv6 in brackets."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    return host if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f"{host}:{port}"
