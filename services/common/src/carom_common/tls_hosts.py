"""Certificates for single hosts that are called: whom to trust on top of the system's CAs, and what to show them.

Servers' certificates and names are always checked; no setting turns that off.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple, NoReturn

import msgspec
from msgspec import Struct

from carom_common.domain.address_policy import HostRules

LOOK_SECONDS: Final = 5.0
_MAX_HOSTS = 1000


class HostFiles(Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files: CAs, a certificate with its chain, and its key, where that is in a file of its own."""

    ca: str = ""
    cert: str = ""
    key: str = ""


class _Loaded(NamedTuple):
    context: ssl.SSLContext
    times: tuple[int, ...]
    looked: float


class TlsHosts:
    """The TLS context of a host. Files are looked at again every 5 s, so that a renewed certificate needs no restart;
    while they cannot be read, the last good ones hold.
    """

    def __init__(self, by_host: Mapping[str, HostFiles]) -> None:
        self._exact = {host: files for host, files in by_host.items() if not host.startswith("*.")}
        below = ((host[1:], files) for host, files in by_host.items() if host.startswith("*."))
        self._below = sorted(below, key=lambda item: -len(item[0]))
        self._loaded = {files: _Loaded(_context(files), _times(files), monotonic()) for files in by_host.values()}

    @property
    def certificates(self) -> set[str]:
        """Every file with certificates."""
        return {path for files in self._loaded for path in (files.ca, files.cert) if path}

    def context(self, host: str) -> ssl.SSLContext | None:
        """The context for a host as it stands in a URL; None where nothing is said about it. The longest name wins."""
        host = host.lower().rstrip(".")
        files = self._exact.get(host)
        if files is None:
            files = next((files for suffix, files in self._below if host.endswith(suffix)), None)
        return None if files is None else self._fresh(files)

    def _fresh(self, files: HostFiles) -> ssl.SSLContext:
        loaded, now = self._loaded[files], monotonic()
        if now - loaded.looked < LOOK_SECONDS:
            return loaded.context
        context, times = loaded.context, loaded.times
        try:
            seen = _times(files)
            if seen != times:
                context, times = _context(files), seen
        except (OSError, ValueError):  # half written, or away for a moment
            pass
        self._loaded[files] = _Loaded(context, times, now)
        return context


_decode = msgspec.json.Decoder(dict[str, HostFiles]).decode


def read_tls_hosts(text: str) -> TlsHosts | None:
    """The contexts of `CAROM_EGRESS_TLS`, None when it is empty; ValueError with one line that names the host."""
    if not text.strip():
        return None
    try:
        by_host = _decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f'must be JSON such as {{"api.example": {{"ca": "/path/ca.crt"}}}}: {error}') from None
    if len(by_host) > _MAX_HOSTS:
        raise ValueError(f"names {len(by_host)} hosts, at most {_MAX_HOSTS} are taken")
    lower = {}
    for host, files in by_host.items():
        if "/" in host:
            raise ValueError(f"{host[:100]!r} is not a host name or an address")
        HostRules.parse([host])
        if files.key and not files.cert:
            raise ValueError(f"{host}: a key needs a cert")
        if not files.ca and not files.cert:
            raise ValueError(f"{host}: names neither ca nor cert")
        try:
            _context(files)
        except (OSError, ValueError) as error:
            raise ValueError(f"{host}: {error}") from None
        lower[host.lower().rstrip(".")] = files
    return TlsHosts(lower)


def _context(files: HostFiles) -> ssl.SSLContext:
    for path in filter(None, (files.ca, files.cert, files.key)):
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if files.ca:
        try:
            context.load_verify_locations(files.ca)
        except ssl.SSLError as error:
            raise ValueError(f"{files.ca} holds no CA certificate in PEM ({error.reason or error})") from None
    if files.cert:
        try:
            context.load_cert_chain(files.cert, files.key or None, password=_no_password)
        except ssl.SSLError as error:
            raise ValueError(f"{files.cert} is no certificate with its key in PEM ({error.reason or error})") from None
    return context


def _times(files: HostFiles) -> tuple[int, ...]:
    return tuple(Path(path).stat().st_mtime_ns for path in filter(None, (files.ca, files.cert, files.key)))


def _no_password() -> NoReturn:
    """OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted: store it without a password, readable by the service alone")
