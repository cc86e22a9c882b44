"""What the record keeps of a call beside its outcome, bounded: a target may answer with whatever it likes. Pure."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from carom_common.contracts.message import Detail, Timing
from carom_common.domain.framing import FRAMING_HEADERS
from carom_common.domain.redaction import REDACTED, is_secret

MAX_HEADERS = 64
MAX_VALUE_BYTES = 1024
MAX_HEADER_BYTES = 4096
"""Names and values together."""
CUT = " [cut]"

_LENGTH = "content-length"  # a framing header too, and the only one that says something of the body


def detail_of(timing: Timing, remote_address: str | None, headers: Mapping[str, str] | None = None) -> Detail:
    """The detail of one attempt; `headers` are those of the response."""
    return Detail(timing, remote_address, kept_headers(headers) if headers else {})


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers worth keeping: no connection's own, none that is empty, secrets redacted, repeated ones joined.

    What is over the bounds is left out, or cut and marked.
    """
    kept: dict[str, tuple[str, str]] = {}
    for name, value in headers.items():
        key, secret = _use(name)
        if not key or not value:
            continue
        if secret:
            value = REDACTED
        elif key in kept:
            value = f"{kept[key][1]}, {value}"
        kept[key] = (kept[key][0] if key in kept else name, value)
    return _bounded(kept.values())


@lru_cache(maxsize=1024)
def _use(name: str) -> tuple[str, bool]:
    """One key for all spellings of a name, empty for what is not kept; and whether it holds a secret."""
    key = name.lower()
    if not name.isascii() or (key in FRAMING_HEADERS and key != _LENGTH):
        return "", False
    return key, is_secret(name)


def _bounded(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = MAX_HEADER_BYTES
    for name, value in headers:
        size = len(value)
        if size > MAX_VALUE_BYTES or not value.isascii():
            value = _text(value)
            size = len(value.encode())
        room -= len(name) + size
        if room < 0 or len(kept) == MAX_HEADERS:
            break
        kept[name] = value
    return kept


def _text(value: str) -> str:
    """Cut to the bound; lone surrogates, which no JSON encoder takes, become question marks."""
    raw = value.encode("utf-8", "replace")
    if len(raw) > MAX_VALUE_BYTES:
        return raw[: MAX_VALUE_BYTES - len(CUT)].decode("utf-8", "ignore") + CUT
    return raw.decode()
