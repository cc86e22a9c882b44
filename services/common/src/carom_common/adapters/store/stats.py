"""What happened lately, and what is so now, for each tenant.

Every process counts in memory and tells the store once a second: `carom:stats:<tenant>:<slot>` (hash of counts, a slot
is 10 s of Unix time, kept for 20 minutes) and `carom:running:<tenant>` (hash: process to `count:told at:start lag`).
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from carom_common.adapters.store.acts import OWED_KEY
from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.index import index_key
from carom_common.adapters.store.records import state_key
from carom_common.adapters.store.replies import text_fields
from carom_common.domain.clock import now_ms
from carom_common.domain.loghist import bucket_of

Counted = Literal[
    "accepted",
    "attempts",
    "retried",
    "completed",
    "failed",
    "cancelled",
    "expired",
    "callbackAttempts",
    "callbacksDelivered",
    "callbacksFailed",
]
COUNTED: tuple[Counted, ...] = Counted.__args__  # type: ignore[attr-defined]

SLOT_MS = 10_000
_SLOT_KEPT_MS = 20 * 60_000
_RUNS_SECONDS = 10.0
"""A call whose lease was not renewed for so long is not counted as running."""
_TOLD_MS = 10_000
_HASH_KEPT_MS = 60_000
_MAX_OPEN_READ = 2000
_READ = 200


class Tally:
    """Counts in one process: adding is a step in a dictionary, `tell` sends what came together."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._token = os.urandom(6).hex()
        self._counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._running: dict[str, tuple[str, float]] = {}
        self._lag: dict[str, int] = {}
        self._told: set[str] = set()

    def count(self, tenant: str, what: Counted, number: int = 1) -> None:
        self._counts[tenant][what] += number

    def finished(self, tenant: str, status: Literal["completed", "failed", "cancelled", "expired"], took: int) -> None:
        """A job has ended, `took` milliseconds after it was accepted, or due where that was later."""
        counts = self._counts[tenant]
        counts[status] += 1
        counts[f"h{bucket_of(took)}"] += 1

    def begun(self, tenant: str, job_id: str, lag: int) -> None:
        """A call begins here, `lag` milliseconds after it could have."""
        self._running[job_id] = (tenant, time.monotonic())
        if lag > self._lag.get(tenant, -1):
            self._lag[tenant] = lag

    def goes_on(self, job_id: str) -> None:
        """A call's lease was renewed."""
        if (known := self._running.get(job_id)) is not None:
            self._running[job_id] = (known[0], time.monotonic())

    def ended(self, job_id: str) -> None:
        """A call is over, here at least."""
        self._running.pop(job_id, None)

    def tell(self) -> None:
        """Send what was counted since the last time, and what runs now. Nobody waits for the reply."""
        now, since = now_ms(), time.monotonic() - _RUNS_SECONDS
        for job_id in [job_id for job_id, (_, seen) in self._running.items() if seen < since]:
            del self._running[job_id]
        for tenant, counts in self._counts.items():
            key = f"carom:stats:{tenant}:{now // SLOT_MS}"
            self._batcher.post(
                *(("HINCRBY", key, what, number) for what, number in counts.items()), ("PEXPIRE", key, _SLOT_KEPT_MS)
            )
        self._counts.clear()
        running: dict[str, int] = defaultdict(int)
        for tenant, _ in self._running.values():
            running[tenant] += 1
        busy = set(running) | set(self._lag)
        for tenant in busy | self._told:
            key = f"carom:running:{tenant}"
            if tenant in busy:
                value = f"{running[tenant]}:{now}:{self._lag.get(tenant, 0)}"
                self._batcher.post(("HSET", key, self._token, value), ("PEXPIRE", key, _HASH_KEPT_MS))
            else:
                self._batcher.post(("HDEL", key, self._token))
        self._told = busy
        self._lag.clear()


class Lately(NamedTuple):
    """What was counted in some slots, and how many seconds they cover."""

    seconds: float
    counts: dict[str, int]
    latency: dict[int, int]
    """Jobs by the bucket (domain/loghist) of what they took."""


class Now(NamedTuple):
    """What is so now; `oldest_ready_ms`: for how long the job that is due and not begun has waited the longest.

    Where thousands of older ones are not due, or held, it is that of the longest that was found so far.
    """

    kept: int
    open: int
    held: int
    running: int
    dead_execute: int
    dead_callback: int
    oldest_ready_ms: int


class _Ready(NamedTuple):
    """A job that could be begun, since when in Unix milliseconds."""

    since: int
    job_id: bytes


class _Search(NamedTuple):
    """How far the open jobs of a tenant were looked through for one that is ready, and the oldest that was found."""

    at: int = 0
    found: tuple[bytes, ...] = ()


class Stats:
    """Reads what all processes told. Every method raises StoreUnavailable when Redis cannot be asked."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._searches: dict[str, _Search] = {}

    async def owed(self) -> int:
        """Acts whose message is not known to be out, of all tenants."""
        return int(await self._batcher.run("ZCARD", OWED_KEY))

    async def lately(self, tenant: str, windows: tuple[int, ...]) -> list[Lately]:
        """What was counted in the last so many seconds, for each window; the slots may cover some seconds more."""
        now = now_ms()
        last = now // SLOT_MS
        first = {seconds: (now - seconds * 1000) // SLOT_MS for seconds in windows}
        slots = range(min(first.values()), last + 1)
        replies = await asyncio.gather(*(self._batcher.run("HGETALL", f"carom:stats:{tenant}:{n}") for n in slots))
        told = [_numbers(reply) for reply in replies]
        return [_sum((now - first[s] * SLOT_MS) / 1000, told[first[s] - slots.start :]) for s in windows]

    async def now(self, tenant: str, most_read: int = _MAX_OPEN_READ) -> Now:
        names = ("all", "open", "held", "dead:execute", "dead:callback")
        counts = await asyncio.gather(*(self._batcher.run("ZCARD", index_key(tenant, name)) for name in names))
        kept, waiting, held, dead_execute, dead_callback = map(int, counts)
        running, lag = await self.told(tenant)
        oldest = await self._oldest_ready(tenant, most_read)
        if oldest is None:
            oldest = lag  # so many are not due that those which are were not found: what begins now tells
        return Now(kept, waiting, held, running, dead_execute, dead_callback, oldest)

    async def told(self, tenant: str) -> tuple[int, int]:
        """How many calls run, and the longest that one of those that began lately had waited, in ms."""
        key, now = f"carom:running:{tenant}", now_ms()
        running = lag = 0
        for process, value in text_fields(await self._batcher.run("HGETALL", key)).items():
            count, at, late = map(int, value.split(":"))
            if abs(now - at) < _TOLD_MS:
                running += count
                lag = max(lag, late)
            else:
                self._batcher.post(("HDEL", key, process))
        return running, lag

    async def _oldest_ready(self, tenant: str, most_read: int) -> int | None:
        """Milliseconds, 0 when none is ready; None when so many others are in front that none was found.

        A look reads so many of the oldest, and where none of them is ready the newest: those that come in while nothing
        begins. The next one goes on where it stopped, and looks again at what was found: a job that stands still is
        told for as long as it does.
        """
        search = self._searches.get(tenant, _Search())
        known = await self._ready(search.found)
        found: list[_Ready] = []
        at, whole = search.at, False
        while not (found or whole) and at < search.at + most_read:
            ids = await self._batcher.run("ZRANGE", index_key(tenant, "open"), at, at + _READ - 1)
            found = await self._ready(ids)
            at += len(ids)
            whole = len(ids) < _READ
        if not (found or whole):
            known += await self._ready(await self._batcher.run("ZRANGE", index_key(tenant, "open"), -_READ, -1))
        oldest = min(known + found, default=None)
        self._searches[tenant] = _Search(0 if found or whole else at, (oldest.job_id,) if oldest else ())
        if oldest is not None:
            return now_ms() - oldest.since
        return 0 if whole and not search.at else None

    async def _ready(self, ids: Iterable[bytes]) -> list[_Ready]:
        """Those of some jobs that could be begun now."""
        fields = ("status", "eta", "updated", "wait_reason")
        ids = tuple(ids)
        states = await asyncio.gather(
            *(self._batcher.run("HMGET", state_key(job_id.decode()), *fields) for job_id in ids)
        )
        now = now_ms()
        return [
            _Ready(since, job_id)
            for job_id, state in zip(ids, states, strict=True)
            if (since := _ready_since(*state)) is not None and since <= now
        ]


def _ready_since(
    status: bytes | None, eta: bytes | None, updated: bytes | None, wait_reason: bytes | None
) -> int | None:
    """Since when a job could be begun, in Unix milliseconds; None for one that is not there, runs, or is held."""
    if status not in (b"queued", b"scheduled", b"waiting") or wait_reason:
        return None
    return int(eta or 0) or int(updated or 0)


def _numbers(reply: object) -> dict[str, int]:
    return {name: int(value) for name, value in text_fields(reply).items()}


def _sum(seconds: float, told: list[dict[str, int]]) -> Lately:
    counts: dict[str, int] = defaultdict(int)
    latency: dict[int, int] = defaultdict(int)
    for slot in told:
        for name, number in slot.items():
            if name[0] == "h":
                latency[int(name[1:])] += number
            else:
                counts[name] += number
    return Lately(seconds, dict(counts), dict(latency))
