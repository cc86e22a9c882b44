"""Keeps the indexes small: takes out entries whose record is gone, or says something else by now.

Records expire by themselves, their entries do not. A sweep goes through every index, the oldest entries first, a
bounded part of it in each pass, and remembers where it was. It rests for as long as it read in vain, which does not
grow with what is kept: jobs come first.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.index import INDEXED_STATUSES, final, index_key
from carom_common.adapters.store.records import state_key
from carom_common.adapters.store.replies import pairs
from carom_common.adapters.store.tenants import Tenants
from carom_common.contracts.job import FINAL_STATUSES
from carom_common.domain.clock import now_ms
from carom_common.domain.filters import REASONS, index_fits

YOUNG_MS = 60_000
"""Entries younger than this are left alone: their record may be on its way."""

_BATCH = 200
_FIELDS = ("status", "reason", "dead", "wait_reason", "callback", "callback_dead", "shown_until")
_KNOWN = (
    "open",
    "held",
    "all",
    *(f"status:{status}" for status in INDEXED_STATUSES),
    "dead:execute",
    "dead:callback",
    *(f"reason:{reason}" for reason in REASONS),
)
_FOUND = ("host:", "label:")
"""Indexes whose names are known from the keys alone."""
_FOUND_KEPT = 10_000
_SCANS, _SCAN_COUNT = 100, 1000
"""How many keys of the store a pass looks at to find more indexes."""
_QUIET_ENTRIES, _QUIET_A_PASS = 1000, 20_000
"""Entries of one index, and of all whose names are known or were found, that a pass reads where few are gone."""
_ROUND_TRIP = 20
"""Entries that an index counts for at least."""
_PASS_SECONDS = 40.0
_LOOKS = 50
"""States that are asked for in one round trip, which others have to wait for."""

Entry = tuple[bytes, int]


class Sweep:
    """One process's sweep; `run` is a pass. Raises StoreUnavailable; the next pass goes on where this one was."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._tenants = Tenants(batcher)
        self._at: dict[str, int] = {}
        self._scan = b"0"
        self._found: deque[str] = deque()
        self._quiet = 0
        """Entries that may still be read where few are gone."""
        self.removed = 0

    async def run(self) -> None:
        """Sweep part of every index whose name is known, and of those found lately."""
        ends, self._quiet = time.monotonic() + _PASS_SECONDS, _QUIET_A_PASS
        keys = [(index_key(tenant, name), name) for tenant in await self._tenants.known() for name in _KNOWN]
        for key, name in random.sample(keys, len(keys)):  # where they are too many, other ones in each pass
            if time.monotonic() > ends or self._quiet <= 0:
                break
            await self._sweep(key, name, ends)
        await self._look_for_more()
        self._quiet = _QUIET_A_PASS
        for _ in range(len(self._found)):
            if time.monotonic() > ends or self._quiet <= 0:
                return
            key = self._found.popleft()
            done = await self._sweep(key, key.split(":", 3)[3], ends)
            if not done:
                self._found.append(key)

    async def _look_for_more(self) -> None:
        """Go on through the keys of the store, which are many, looking for indexes by host and by label."""
        for _ in range(_SCANS):
            if len(self._found) >= _FOUND_KEPT:
                return
            began = time.monotonic()
            command = ("SCAN", self._scan, "MATCH", "carom:idx:*", "COUNT", _SCAN_COUNT)
            self._scan, keys = await self._batcher.run(*command)
            known = set(self._found)
            for key in (key.decode("utf-8", "replace") for key in keys):
                name = key.split(":", 3)[3]
                if name.startswith(_FOUND) and key not in known:
                    self._found.append(key)
            if self._scan == b"0":
                return
            await _rest(began)

    async def _sweep(self, key: str, name: str, ends: float) -> bool:
        """Sweep the front of an index for as long as it is stale, then some more of it; True when its end was reached.

        The front is where most of what is gone is; but what is kept for longer than the rest gathers there too.
        """
        at_end, _ = await self._stretch(key, name, 0, ends, quiet=_BATCH)
        if at_end:
            self._at.pop(key, None)
            return True
        at_end, at = await self._stretch(key, name, self._at.get(key, _BATCH), ends, quiet=_QUIET_ENTRIES)
        if at_end:
            self._at.pop(key, None)
        else:
            self._at[key] = at
        return at_end

    async def _stretch(self, key: str, name: str, rank: int, ends: float, quiet: int) -> tuple[bool, int]:
        """Sweep from a rank on until `quiet` entries were read of which few were stale, or the pass's time is over.

        Gives whether the end (of what is old enough) was reached, and the rank to go on with.
        """
        while quiet > 0 and (began := time.monotonic()) < ends:
            reply = await self._batcher.run("ZRANGE", key, rank, rank + _BATCH - 1, "WITHSCORES")
            oldest = now_ms() - YOUNG_MS
            entries = [(member, created) for member, score in pairs(reply) if (created := int(float(score))) < oldest]
            stale = await self._stale(key, name, entries)
            rank += len(entries) - stale
            if stale < _BATCH // 4:
                quiet -= _BATCH
                self._quiet -= max(len(entries), _ROUND_TRIP)
                await _rest(began)
            if len(entries) < _BATCH:
                return True, rank
        return False, rank

    async def _stale(self, key: str, name: str, entries: list[Entry]) -> int:
        """Take out those entries that say what is not so (any more); gives how many."""
        states = await self._states(entries)
        stale = [
            (entry, state)
            for entry, state in zip(entries, states, strict=True)
            if not (state and index_fits(name, state))
        ]
        if not stale:
            return 0
        if name == "open":
            self._enter_final(key, stale)
        await self._batcher.run("ZREM", key, *(member for (member, _), _ in stale))
        # A job may have come back between the look and the removal.
        again = [entry for entry, state in stale if state]
        for entry, state in zip(again, await self._states(again), strict=True):
            if state and index_fits(name, state):
                self._batcher.post(("ZADD", key, entry[1], entry[0]))
        self.removed += len(stale)
        return len(stale)

    def _enter_final(self, key: str, stale: Iterable[tuple[Entry, dict[str, str]]]) -> None:
        """Whoever finished these jobs died before it told the indexes: do it in its place."""
        prefix = key.removesuffix("open")
        for (member, created), state in stale:
            if state and state["status"] in FINAL_STATUSES:
                for name in final(state["status"], state.get("reason", ""), state.get("dead") == "1"):
                    self._batcher.post(("ZADD", prefix + name, created, member))

    async def _states(self, entries: list[Entry]) -> list[dict[str, str]]:
        commands = [("HMGET", state_key(member.decode()), *_FIELDS) for member, _ in entries]
        replies = []
        for first in range(0, len(commands), _LOOKS):
            replies += await self._batcher.run_all(commands[first : first + _LOOKS])
        now = now_ms()
        return [
            {name: value.decode() for name, value in zip(_FIELDS, values, strict=True) if value is not None}
            # Of a job that may still have copies, the state stays for longer than the record is shown.
            if values[0] is not None and (values[-1] is None or int(values[-1]) > now)
            else {}
            for values in replies
        ]


async def _rest(since: float) -> None:
    """For as long as was worked."""
    await asyncio.sleep(time.monotonic() - since)
