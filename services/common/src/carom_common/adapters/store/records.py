"""Where the record of a job is, and reading it whole. scripts/record.lua says what is in it."""

import asyncio
from typing import Any, NamedTuple

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.replies import text_fields
from carom_common.contracts.sealing import Vault


class StoredJob(NamedTuple):
    """A record as it is kept: the fields of its state, the job as JSON, its attempts as JSON; both opened."""

    state: dict[str, str]
    job: bytes
    attempts: list[bytes]


def state_key(job_id: str) -> str:
    return f"carom:{{{job_id}}}:state"


def log_key(job_id: str) -> str:
    return f"carom:{{{job_id}}}:log"


def opened(vault: Vault, job_id: str, state: Any, log: list[bytes]) -> StoredJob:
    """A record from what the store says; raises Unsealable."""
    job, *attempts = [vault.open(job_id, entry) for entry in log]
    return StoredJob(text_fields(state), job, attempts)


async def fetch_record(batcher: Batcher, job_id: str) -> StoredJob | None:
    """The record as it is now, or None when there is none (any more); raises StoreUnavailable and Unsealable."""
    # State first: the log may grow in between, and is cut to what the state knows.
    state, log = await asyncio.gather(
        batcher.run("HGETALL", state_key(job_id)), batcher.run("LRANGE", log_key(job_id), 0, -1)
    )
    return opened(batcher.vault, job_id, state, log) if state and log else None
