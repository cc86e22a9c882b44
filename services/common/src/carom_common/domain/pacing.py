"""When what does not fit now should come back: spread over the time that a destination needs for it. Pure."""

LONGEST_SECONDS = 25.0
"""What is held looks again at the latest after this, so that the end of a pause takes effect within 30 s."""
LONGEST_UNPROVEN_SECONDS = 400.0
"""No pause ends for these, and there may be very many: each look costs the broker, the store and a process. Where many
wait it takes them longer than this to have a turn anyway."""
SHORTEST_SECONDS = 0.1
GROWTH_MS = (1000, 2000, 4000, 8000, 16_000, 25_000)


def growing_ms(holds: int) -> int:
    """How long to hold for the nth time (from 1) when nothing says how long."""
    return GROWTH_MS[min(max(holds, 1), len(GROWTH_MS)) - 1]


class Pace:
    """Gives out turns, one after the other, at the speed of a destination. Times in seconds of any clock."""

    __slots__ = ("_last", "_longest")

    def __init__(self, longest: float = LONGEST_SECONDS) -> None:
        self._last = 0.0
        self._longest = longest

    def turn(self, now: float, step: float, ahead: int) -> float:
        """Seconds until the next free turn, each taking `step`; `ahead` turns are taken by what waits here."""
        latest = now + self._longest
        self._last = min(max(self._last, now + ahead * step) + step, latest)
        return min(max(self._last - now, SHORTEST_SECONDS), self._longest)
