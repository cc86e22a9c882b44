"""The state of jobs as a service uses it: one connection, and what is done over it."""

import os

from carom_common.adapters.store.batch import Batcher, StoreUnavailable
from carom_common.adapters.store.callbacks import Callbacks
from carom_common.adapters.store.executions import Executions
from carom_common.adapters.store.records import StoredJob, fetch_record, state_key
from carom_common.adapters.store.replies import text_fields
from carom_common.adapters.store.stats import Tally
from carom_common.adapters.store.tenants import Tenants
from carom_common.adapters.store.transitions import Kept, Lease, Renewal
from carom_common.contracts.sealing import CLEAR, Vault
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.tls import NO_FILES, TlsFiles

__all__ = ["Lease", "Renewal", "Store", "StoreUnavailable"]

PROBE_KEPT_MS = 10_000
MARK_KEY = "carom:mark"

log = get_logger()


class Store:
    """Every method raises StoreUnavailable when Redis cannot be asked; asking again is always safe."""

    def __init__(
        self,
        url: str,
        retention_seconds: int,
        dead_retention_seconds: int,
        tls: TlsFiles = NO_FILES,
        vault: Vault = CLEAR,
    ) -> None:
        self._batcher = Batcher(url, tls, vault)
        self._mark = b""
        self.tally = Tally(self._batcher)
        self.tenants = Tenants(self._batcher)
        kept = Kept(retention_seconds * 1000, dead_retention_seconds * 1000)
        self.executions = Executions(self._batcher, self.tally, self.tenants, kept)
        self.callbacks = Callbacks(self._batcher, self.tally, self.tenants, kept)

    @property
    def batcher(self) -> Batcher:
        """The connection, for what else is kept in the store."""
        return self._batcher

    @property
    def vault(self) -> Vault:
        """What seals jobs and responses, in messages too."""
        return self._batcher.vault

    @property
    def state(self) -> str:
        return "ok" if self._batcher.healthy else "not available"

    async def probe(self) -> int:
        """See whether Redis takes writes; only this makes the state "ok" again once it was not. Gives its time, in ms.

        Whoever comes first leaves a mark, which lasts, and is never the same twice. Who has seen it, and then finds
        another, knows that Redis came back without what was in it.
        """
        probe, mark = ("SET", "carom:probe", "1", "PX", PROBE_KEPT_MS), ("SET", MARK_KEY, os.urandom(8), "NX")
        *_, found, (seconds, micros) = await self._batcher.run_all((probe, mark, ("GET", MARK_KEY), ("TIME",)))
        if self._mark and found != self._mark:
            metrics.store_emptied.inc()
            log.error("store_emptied")
        self._mark = found
        self._batcher.healthy = True
        return int(seconds) * 1000 + int(micros) // 1000

    async def close(self) -> None:
        await self._batcher.close()

    async def fetch(self, job_id: str) -> StoredJob | None:
        """The record as it is now, or None when there is none (any more); raises Unsealable."""
        return await fetch_record(self._batcher, job_id)

    async def state_of(self, job_id: str) -> dict[str, str] | None:
        """The fields of a record alone, or None when there is no such job (any more)."""
        return text_fields(await self._batcher.run("HGETALL", state_key(job_id))) or None
