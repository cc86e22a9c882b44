"""Whose jobs there are: a set that accepting a job adds to."""

from carom_common.adapters.store.batch import Batcher
from carom_common.contracts.message import DEFAULT_TENANT

TENANTS_KEY = "carom:tenants"


async def tenants(batcher: Batcher) -> list[str]:
    """Every tenant that had a job, `default` first; raises StoreUnavailable."""
    known = {member.decode() for member in await batcher.run("SMEMBERS", TENANTS_KEY)}
    return [DEFAULT_TENANT, *sorted(known - {DEFAULT_TENANT})]
