"""When a delivery was where: taken once, used for the histograms of its steps and for its one wide event alike."""

from time import perf_counter
from typing import Any


class Marks:
    """The steps of one delivery, as readings of `perf_counter`; 0 where it did not come so far.

    `due` is Unix milliseconds, 0 where nobody knows; `sent` and `received` are bytes of bodies.
    """

    __slots__ = (
        "arrived",
        "began",
        "call",
        "called",
        "claimed",
        "claims",
        "host",
        "published",
        "queued",
        "received",
        "sent",
        "settled",
        "standing",
        "status",
        "was_held",
    )

    def __init__(self) -> None:
        self.arrived = perf_counter()
        self.began = self.claimed = self.called = self.settled = self.published = 0.0
        self.call = 0.0
        """Seconds that the call took."""
        self.queued = -1.0
        """Seconds from when it was due until it began; negative where nobody knows."""
        self.host = self.standing = ""
        self.claims = self.sent = self.received = 0
        self.was_held = False
        self.status: int | None = None

    def spent(self) -> dict[str, Any]:
        """The fields of an event that say where the time went, in milliseconds, and how much was moved."""
        return {
            "queue_ms": ms(self.queued) if self.queued >= 0 else None,
            "slot_ms": ms(self.began - self.arrived),
            "claim_ms": ms(self.claimed - self.began),
            "duration_ms": ms(self.call),
            "settle_ms": ms(self.settled - self.called) if self.settled else None,
            "publish_ms": ms(self.published - self.settled) if self.published else None,
            "sent_bytes": self.sent,
            "received_bytes": self.received,
        }


def ms(seconds: float) -> float:
    """Milliseconds, to the tenth."""
    return int(seconds * 10_000 + 0.5) / 10
