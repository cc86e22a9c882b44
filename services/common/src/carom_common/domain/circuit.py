"""Whether a destination is there: closed, open after failures in a row, half-open for one probe. Pure.

Times in seconds of any clock. What other processes found comes in through `tripped` and `mended`.
"""

from typing import Literal

State = Literal["closed", "open", "half-open"]


_ABSENT = frozenset({"connect", "dns", "tls", "timeout"})
_NOT_TRIED = frozenset({"refused", "invalid-url", "unsigned"})


def tells_presence(reason: str) -> bool | None:
    """Whether a call that failed for this reason found somebody; None when it says nothing of the destination."""
    return None if reason in _NOT_TRIED else reason not in _ABSENT


class Circuit:
    """One destination, as one process sees it."""

    __slots__ = ("_open_until", "_tripped", "failures", "probing")

    def __init__(self) -> None:
        self.failures = 0
        self.probing = False
        """This process makes the one call that finds out."""
        self._tripped = False
        self._open_until = 0.0

    def state(self, now: float) -> State:
        if not self._tripped:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    def rest(self, now: float) -> float:
        """Seconds until it may be tried again."""
        return max(0.0, self._open_until - now)

    def tripped(self, until: float) -> None:
        """It is open until then."""
        self._tripped = True
        self._open_until = max(until, self._open_until)

    def look_again(self, at: float) -> None:
        """Somebody else probes; ask again then."""
        self._open_until = at

    def mended(self) -> None:
        self._tripped = self.probing = False
        self._open_until = 0.0
        self.failures = 0

    def failed(self, threshold: int, open_seconds: float, now: float) -> bool:
        """Note a call that found nobody; True when that opens the circuit (again)."""
        self.failures += 1
        if threshold <= 0 or self.state(now) == "open":
            return False
        if not self.probing and self.failures < threshold:
            return False
        self.probing = False
        self.tripped(now + open_seconds)
        return True

    def answered(self) -> bool:
        """Note an answer; True when that closes the circuit."""
        closes = self._tripped
        self.mended()
        return closes
