"""What one process knows of one destination: its limits, permits, circuit, and the deliveries that wait for it here."""

from collections import deque
from typing import Generic, TypeVar

from carom_common.domain.bulkhead import Standing
from carom_common.domain.circuit import Circuit
from carom_common.domain.pacing import Pace
from carom_common.domain.rules import Limits

W = TypeVar("W")

PROVEN_SECONDS = 3600.0
"""For so long a host counts as one that answers."""
GIVEN_UP = 3
"""Calls in a row that found nobody, after which a host that used to answer does not count as proven."""
FRESH = 0.2
"""Weight of the newest call in the mean duration."""


class Host(Generic[W]):
    """Times are those of the event loop, in seconds. `waiting` holds (since, delivery), oldest first."""

    __slots__ = (
        "ask_again",
        "asking",
        "circuit",
        "ended",
        "ended_at",
        "granted",
        "granted_until",
        "lent_at",
        "limits",
        "name",
        "others",
        "pace",
        "peak",
        "probe_ready",
        "proven_at",
        "rate_again",
        "refused",
        "renewed_at",
        "retries",
        "running",
        "seconds",
        "tokens",
        "tokens_at",
        "told_at",
        "tripped_at",
        "used_at",
        "waiting",
        "yielding",
    )

    def __init__(self, name: str, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self.circuit = Circuit()
        self.pace = Pace()
        self.waiting: deque[tuple[float, W]] = deque()
        self.running = 0
        self.peak = 0
        self.ended = 0
        """Calls that ended since the last tick."""
        self.ended_at = 0.0
        """When the last one did."""
        self.seconds = 0.0
        """Mean duration of a call; 0 while unknown."""
        self.granted = 0
        self.granted_until = 0.0
        self.lent_at = self.renewed_at = 0.0
        self.others = 0
        """Processes that wait for more permits."""
        self.yielding = False
        self.asking = False
        self.ask_again = self.rate_again = 0.0
        self.refused = False
        """The store had fewer permits than were asked for."""
        self.retries = 0
        """Calls to be made again, since the registry looked last."""
        self.tokens = 0
        self.tokens_at = 0.0
        self.probe_ready = False
        self.proven_at = -PROVEN_SECONDS
        self.told_at = -PROVEN_SECONDS
        """When the others were told that it answers."""
        self.tripped_at = -PROVEN_SECONDS
        self.used_at = 0.0

    @property
    def idle(self) -> bool:
        return not (self.running or self.waiting or self.granted or self.asking)

    @property
    def share(self) -> int:
        """Permits that are fair while others wait."""
        return self.limits.concurrency // (self.others + 1)

    def standing(self, now: float) -> Standing:
        failures = self.circuit.failures
        if now - self.proven_at < PROVEN_SECONDS and failures < GIVEN_UP:
            return Standing.PROVEN
        return Standing.FAILING if failures else Standing.UNKNOWN

    def allowed(self, now: float) -> int:
        """Calls that it may take at once from this process."""
        if now >= self.granted_until:
            return 0
        return min(self.granted, self.share) if self.yielding else self.granted

    def wanted(self) -> int:
        """Permits to ask for: what is used and waits, and a few more for a busy destination."""
        need = max(self.running, self.peak) + len(self.waiting)
        return min(self.limits.concurrency, need + (4 if need > 1 else 0))

    def lasted(self, seconds: float) -> None:
        self.seconds = seconds if not self.seconds else self.seconds + FRESH * (seconds - self.seconds)

    def step(self) -> float | None:
        """Seconds that it takes this process to be rid of one call more; None while nobody knows."""
        if self.limits.rate:
            return 1 / self.limits.rate
        # What is held comes back to any of those that wait for permits.
        return self.seconds / max(self.granted, self.limits.concurrency / (self.others + 1)) if self.seconds else None
