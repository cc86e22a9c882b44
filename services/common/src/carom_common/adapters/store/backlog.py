"""How many jobs are open, those of all tenants together, as the indexes say."""

import asyncio

from carom_common.adapters.store.batch import Batcher, StoreUnavailable
from carom_common.adapters.store.index import index_key
from carom_common.adapters.store.tenants import Tenants
from carom_common.telemetry import metrics

POLL_SECONDS = 1.0


class Backlog:
    """The open jobs as of the last second, and those that this process took in since."""

    def __init__(self, batcher: Batcher, tenants: Tenants) -> None:
        self._batcher = batcher
        self._tenants = tenants
        self._counted = 0
        self._added = 0

    @property
    def jobs(self) -> int:
        return self._counted + self._added

    def took(self, tenant: str, jobs: int = 1) -> None:
        """Count jobs that were accepted, and see to it that their tenant is known."""
        self._added += jobs
        self._tenants.note(tenant)

    async def watch(self) -> None:
        """Count once a second, until cancelled. While the store is away the last count stands."""
        while True:
            try:
                before = self._added
                names = await self._tenants.known()
                sizes = [self._batcher.run("ZCARD", index_key(name, "open")) for name in names]
                self._counted = sum(await asyncio.gather(*sizes))
                self._added -= before
                metrics.backlog_jobs.set(self._counted)
            except StoreUnavailable:
                pass  # what watches the store says so
            await asyncio.sleep(POLL_SECONDS)
