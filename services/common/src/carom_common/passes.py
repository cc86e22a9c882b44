"""What goes into the gate and what comes out of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from carom_common.domain.bulkhead import Standing
from carom_common.domain.filters import WaitReason
from carom_common.hosts import Host


class Place(NamedTuple):
    """What the gate asks of a delivery; `expires` in Unix milliseconds, 0 for never."""

    tenant: str
    url: str
    labels: Mapping[str, str]
    expires: int


class Pass:
    """A delivery's way through the gate, from `admit` to `done`."""

    __slots__ = ("began", "host", "probe", "standing")

    def __init__(self, host: Host[Any], standing: Standing, began: float, probe: bool) -> None:
        self.host = host
        self.standing = standing
        self.began = began
        self.probe = probe


class Gated(Protocol):
    """What the gate needs of a delivery in the process."""

    gate_pass: Pass | None

    @property
    def alive(self) -> bool: ...


class Hold(NamedTuple):
    """Put it back, for `delay_ms`, or for longer each time where that is None."""

    reason: WaitReason
    delay_ms: int | None
