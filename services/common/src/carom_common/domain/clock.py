"""Unix milliseconds and RFC 3339, the two forms of time that Carom writes down."""

import time


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
