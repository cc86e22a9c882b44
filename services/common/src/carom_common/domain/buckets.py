"""Delay buckets: the R10 series (ISO 3) from 100 ms to 24 h, one queue of fixed TTL each. See docs/adr/0002."""

from bisect import bisect_right

_R10 = (100, 125, 160, 200, 250, 315, 400, 500, 630, 800)
BUCKETS: tuple[int, ...] = (*(step * 10**decade for decade in range(6) for step in _R10), 86_400_000)
SHORTEST = BUCKETS[0]


def largest_within(delay_ms: float) -> int | None:
    """The longest bucket that does not overshoot the delay; None below the shortest."""
    index = bisect_right(BUCKETS, delay_ms)
    return BUCKETS[index - 1] if index else None


def nearest(delay_ms: float, ceiling_ms: int) -> int:
    """The bucket closest to the delay in ratio, never above the ceiling (at least 100 ms)."""
    ceiling = bisect_right(BUCKETS, ceiling_ms) or 1
    index = bisect_right(BUCKETS, delay_ms)
    if index == 0:
        return SHORTEST
    if index < len(BUCKETS) and delay_ms * delay_ms > BUCKETS[index - 1] * BUCKETS[index]:
        index += 1
    return BUCKETS[min(index, ceiling) - 1]
