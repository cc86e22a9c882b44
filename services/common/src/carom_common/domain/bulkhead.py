"""Slots that hosts nobody has heard from cannot take from those that answer. Pure; times in seconds, any clock."""

from enum import IntEnum

QUIET_SECONDS = 10.0
"""After so long without a call to a proven host nobody needs the reserve."""
STUCK_SECONDS = 0.3
SPREAD_SECONDS = 0.02
"""At most so long after one call to a host that is not proven the next one may begin, however long they take."""
BURST_SECONDS = 0.05
"""What could have begun within this may begin at once."""
FRESH = 0.1
"""Weight of the newest call in the mean duration."""


class Standing(IntEnum):
    """What is known of a host."""

    PROVEN = 0
    """It answered lately."""
    UNKNOWN = 1
    FAILING = 2
    """Nobody was there the last time."""


class Bulkhead:
    """Counts the calls under way in one process.

    Hosts that are not proven share half of the slots, those that fail a quarter. While no proven host is called they
    may have all; should they hang there, proven hosts get slots beyond the number, up to a half of it.

    Nor do calls to them begin faster than all slots could be rid of them: those that begin together end together, by
    the same timeout, and every other call waits until that is dealt with.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._half = max(1, slots // 2)
        self._quarter = max(1, slots // 4)
        self._share = (slots, self._half, self._quarter)
        self._running = [0, 0, 0]
        self._seconds = 0.0
        self.next_at = 0.0
        """When the next call to a host that is not proven may begin."""
        self._proven_at = -QUIET_SECONDS
        self._ended_at = 0.0

    @property
    def running(self) -> int:
        return sum(self._running)

    @property
    def unproven(self) -> int:
        return self._running[Standing.UNKNOWN] + self._running[Standing.FAILING]

    def has_room(self, standing: Standing, now: float) -> bool:
        """Whether a host of this standing may have one more slot, if one is free."""
        if standing is Standing.PROVEN:
            return True
        if now < self.next_at:
            return False
        quiet = now - self._proven_at >= QUIET_SECONDS
        failing = self._running[Standing.FAILING]
        if standing is Standing.FAILING and failing >= (self._half if quiet else self._quarter):
            return False
        return self.running < self._slots if quiet else self.unproven < self._half

    def opens_reserve(self, now: float) -> bool:
        """All slots hang at hosts that are not proven: see whether a proven one waits."""
        if self.unproven <= self._half or self._running[Standing.PROVEN] >= self._half:
            return False
        return self._seconds > STUCK_SECONDS or now - self._ended_at > STUCK_SECONDS

    @property
    def overdraws(self) -> bool:
        """Whether the call to a proven host that was counted last may begin although no slot is free."""
        return self._running[Standing.PROVEN] <= self._half < self.unproven

    def step(self, standing: Standing) -> float:
        """Seconds that hosts of this standing take to be rid of one call more."""
        return (self._seconds or 1.0) / self._share[standing]

    def enter(self, standing: Standing, now: float) -> None:
        self._running[standing] += 1
        if standing is Standing.PROVEN:
            self._proven_at = now
            return
        self.next_at = max(now - BURST_SECONDS, self.next_at) + min(self._seconds / self._slots, SPREAD_SECONDS)
        if self.unproven == 1:
            self._ended_at = now

    def leave(self, standing: Standing, now: float, seconds: float | None) -> None:
        """One ended; `seconds` is how long it was called, None where it was not."""
        self._running[standing] -= 1
        if standing is Standing.PROVEN:
            return
        self._ended_at = now
        if seconds is not None:
            self._seconds += FRESH * (seconds - self._seconds)
