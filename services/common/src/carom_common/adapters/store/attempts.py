"""A part of a job's log: what was tried, without the rest of its record."""

import asyncio
from typing import NamedTuple

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.records import log_key, state_key
from carom_common.contracts.message import DEFAULT_TENANT


class LogPart(NamedTuple):
    """Some of a job's attempts as JSON, in order; `settled` counts all that there are."""

    tenant: str
    job: bytes
    settled: int
    entries: list[bytes]


class Attempts:
    """Reads attempts. Raises StoreUnavailable when Redis cannot be asked."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    async def read(self, job_id: str, first: int, count: int) -> LogPart | None:
        """Up to `count` attempts after the `first` ones; None when there is no such job. Raises Unsealable."""
        run, log = self._batcher.run, log_key(job_id)
        # State first: the log may grow in between, and is cut to what the state knows.
        fields, head, entries = await asyncio.gather(
            run("HMGET", state_key(job_id), "tenant", "attempt"),
            run("LRANGE", log, 0, 0),
            run("LRANGE", log, first + 1, first + count),
        )
        tenant, settled = fields
        if settled is None or not head:
            return None
        known = int(settled)
        shown = (*head, *entries[: max(0, known - first)])
        job, *attempts = (self._batcher.vault.open(job_id, entry) for entry in shown)
        return LogPart(tenant.decode() if tenant else DEFAULT_TENANT, job, known, attempts)
