"""Unix milliseconds and RFC 3339, the two forms of time that Carom writes down."""

import re
import time
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def rfc3339(ms: int) -> str:
    """`2024-05-18T12:00:00.000Z`, as the seed's documents show times (RFC 3339, UTC, milliseconds)."""
    seconds, millis = divmod(ms, 1000)
    when = time.gmtime(seconds)
    return (
        f"{when.tm_year:04d}-{when.tm_mon:02d}-{when.tm_mday:02d}"
        f"T{when.tm_hour:02d}:{when.tm_min:02d}:{when.tm_sec:02d}.{millis:03d}Z"
    )


def parse_rfc3339(text: str) -> int:
    """Unix milliseconds of an RFC 3339 time with its offset; raises ValueError with what is wrong."""
    if not _RFC3339.fullmatch(text):
        raise ValueError("must be a time with its offset as in RFC 3339, e.g. 2026-01-31T09:30:00Z")
    try:
        when = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"is no time that exists: {error}") from None
    return (when - _EPOCH) // _MS  # in whole numbers: a float would lose some milliseconds
