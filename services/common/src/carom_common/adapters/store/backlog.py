"""How many jobs are open, by tenant and together, as the indexes say; and how many bytes of jobs tenants handed in.

carom:bytes:<tenant>   hash: slot -> bytes taken in then; a slot is a 24th of the retention time
"""

import asyncio
import contextlib
from collections import Counter

from carom_common.adapters.store.batch import Batcher, StoreUnavailable
from carom_common.adapters.store.index import index_key
from carom_common.adapters.store.replies import pairs
from carom_common.adapters.store.tenants import Tenants
from carom_common.domain.clock import now_ms
from carom_common.telemetry import metrics

POLL_SECONDS = 1.0
SLOTS = 24


class Backlog:
    """The open jobs as of the last second, and those that this process took in since.

    With `bytes_kept_ms` it counts bytes too: those of the jobs that a tenant handed in within that time. That is about
    what the store keeps of them: responses are not counted, nor are jobs that wait, or are kept, for longer.
    """

    def __init__(self, batcher: Batcher, tenants: Tenants, bytes_kept_ms: int = 0) -> None:
        self._batcher = batcher
        self._tenants = tenants
        self._slot_ms = max(1, bytes_kept_ms // SLOTS) if bytes_kept_ms else 0
        self._counted: Counter[str] = Counter()
        self._added: Counter[str] = Counter()
        self._total = 0
        self._bytes: Counter[str] = Counter()
        self._bytes_added: Counter[str] = Counter()

    @property
    def jobs(self) -> int:
        """Of all tenants together."""
        return self._total

    def jobs_of(self, tenant: str) -> int:
        return self._counted[tenant] + self._added[tenant]

    def bytes_of(self, tenant: str) -> int:
        return self._bytes[tenant] + self._bytes_added[tenant]

    def took(self, tenant: str, size: int = 0) -> None:
        """Count a job of so many bytes that was accepted, and see to it that its tenant is known."""
        self._total += 1
        self._added[tenant] += 1
        if self._slot_ms:
            self._bytes_added[tenant] += size
        self._tenants.note(tenant)

    async def watch(self) -> None:
        """Count once a second, until cancelled. While the store is away the last count stands."""
        while True:
            with contextlib.suppress(StoreUnavailable):  # what watches the store says so
                await self._count()
            await asyncio.sleep(POLL_SECONDS)

    async def _count(self) -> None:
        before = self._added.copy()
        names = await self._tenants.known()
        sizes = await asyncio.gather(*(self._batcher.run("ZCARD", index_key(name, "open")) for name in names))
        if self._slot_ms:
            await self._count_bytes(names)
        self._counted = Counter(dict(zip(names, sizes, strict=True)))
        self._added -= before  # what came meanwhile stays
        self._total = sum(self._counted.values()) + sum(self._added.values())
        metrics.backlog_jobs.set(sum(self._counted.values()))

    async def _count_bytes(self, names: list[str]) -> None:
        """Write down what came here, and read what came everywhere. A process that dies loses a second's bytes."""
        slot = now_ms() // self._slot_ms
        for tenant, size in list(self._bytes_added.items()):
            key = _bytes_key(tenant)
            also = (("PEXPIRE", key, self._slot_ms * (SLOTS + 1)),)
            await self._batcher.run("HINCRBY", key, slot, size, also=also)
            self._bytes_added[tenant] -= size
            self._bytes[tenant] += size
        self._bytes_added = +self._bytes_added
        found = await asyncio.gather(*(self._batcher.run("HGETALL", _bytes_key(name)) for name in names))
        counted: Counter[str] = Counter()
        for name, reply in zip(names, found, strict=True):
            slots = {int(field): int(size) for field, size in pairs(reply)}
            counted[name] = sum(size for when, size in slots.items() if when > slot - SLOTS)
            if old := [when for when in slots if when <= slot - SLOTS]:
                self._batcher.post(("HDEL", _bytes_key(name), *old))
        self._bytes = counted


def _bytes_key(tenant: str) -> str:
    return f"carom:bytes:{tenant}"
