"""Unix milliseconds and RFC 3339, the two forms of time that Carom writes down; and what time it is."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_NS_PER_MS = 1_000_000
SUDDEN_MS = 1000
"""By how much the wall clock must go wrong at once to be doubted."""


class Clock:
    """The wall clock, but that it does not jump before somebody else says so too.

    A time that is wrong by an hour would be written into messages and keep their jobs waiting for as long, also where
    all clocks are right. So time goes on by the monotonic clock; the wall clock is followed while it differs little,
    and after a jump only if a third one is nearer to it.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()

    def now_ms(self) -> int:
        return (self._monotonic() + self._ahead) // _NS_PER_MS

    def compare(self, other_ms: int) -> int:
        """Follow the wall clock if it may be followed, with the time of another one; gives what is doubted, in ms."""
        wall_ahead = self._wall() - self._monotonic()
        jump = (wall_ahead - self._ahead) // _NS_PER_MS
        off = other_ms - self.now_ms()
        if abs(jump) < SUDDEN_MS or abs(off - jump) < abs(off):
            self._ahead = wall_ahead
            return 0
        return jump


CLOCK = Clock()
"""Of this process."""
now_ms = CLOCK.now_ms


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
