"""Whose jobs there are: a set that accepting a job, or making its record anew, adds to.

`default` is a tenant like any other: it counts where it had a job, and where nobody is known to have had one (an empty
store, or one that lost its data). Were it always counted, a pause of all others would never stop the consumers.
"""

import time

from carom_common.adapters.store.batch import Batcher
from carom_common.contracts.message import DEFAULT_TENANT

TENANTS_KEY = "carom:tenants"
NOTE_SECONDS = 60.0


class Tenants:
    """The set, as one process uses it."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._noted: dict[str, float] = {}

    def note(self, tenant: str) -> None:
        """See to it that a tenant is known; told again each minute, since the store may lose it."""
        now = time.monotonic()
        if now - self._noted.get(tenant, -NOTE_SECONDS) >= NOTE_SECONDS:
            self._noted[tenant] = now
            self._batcher.post(("SADD", TENANTS_KEY, tenant))

    async def known(self) -> list[str]:
        """Every tenant that had a job, never nobody; raises StoreUnavailable."""
        members = await self._batcher.run("SMEMBERS", TENANTS_KEY)
        return sorted(member.decode() for member in members) or [DEFAULT_TENANT]
