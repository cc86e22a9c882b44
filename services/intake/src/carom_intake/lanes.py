"""Which queue a job goes to: its priority's, or that of what may have to wait.

A normal job for a host that nobody heard from lately may be one of very many for hosts that are not there: it comes in
beside the others, so that no job for a host that answers stands behind it (docs/adr/0015).
"""

import time

from carom_common.contracts.job import Job
from carom_common.control import Control
from carom_common.domain.destinations import destination_of
from carom_common.hosts import PROVEN_SECONDS
from carom_common.topology import lane_key

MAX_HOSTS = 50_000


class Lanes:
    """Knows which hosts answer, from what the executors tell each other; a second or two behind them."""

    def __init__(self, control: Control) -> None:
        self._proven: dict[str, float] = {}
        """Until when, by destination; those heard from last are at the end."""
        control.on_proven, control.on_opened = self._heard, self._opened

    def of(self, job: Job) -> str:
        """The routing key for a job's message."""
        return lane_key(job.priority, proven=self._proven.get(destination_of(job.target_url), 0) > time.monotonic())

    def _heard(self, host: str, ago_ms: int) -> None:
        until = time.monotonic() + PROVEN_SECONDS - ago_ms / 1000
        self._proven[host] = max(until, self._proven.pop(host, 0))
        if len(self._proven) > MAX_HOSTS:
            del self._proven[next(iter(self._proven))]

    def _opened(self, host: str, _ago_ms: int) -> None:
        self._proven.pop(host, None)
