"""Records made anew from dead letters, where the store lost them (scripts/revive.lua)."""

from typing import Literal

from carom_common.adapters.store import index
from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.records import log_key, state_key
from carom_common.adapters.store.tenants import Tenants
from carom_common.adapters.store.transitions import birth, history
from carom_common.contracts.job import FinalStatus, encode_job
from carom_common.contracts.message import CallbackMessage, ExecuteMessage


class Revival:
    """Methods raise StoreUnavailable; asking again is safe."""

    def __init__(self, batcher: Batcher, dead_retention_seconds: int) -> None:
        self._batcher = batcher
        self._tenants = Tenants(batcher)
        self._kept_ms = dead_retention_seconds * 1000
        self._revive = batcher.register("revive")

    def keep_until(self, completed: int) -> int:
        """Until when such a record would be kept, in Unix milliseconds."""
        return completed + self._kept_ms

    async def known(self, job_id: str) -> bool:
        return bool(await self._batcher.run("EXISTS", state_key(job_id)))

    async def revive(
        self,
        message: ExecuteMessage | CallbackMessage,
        status: FinalStatus,
        completed: int,
        error: str,
        reason: str,
        dead: bool,
        callback: Literal["none", "failed"],
        callback_generation: int,
        callback_attempt: int,
        callback_error: str,
    ) -> bool:
        """Make the record, unless there is one; gives whether it was made."""
        job_id, vault = message.job_id, self._batcher.vault
        attempts = message.attempts[-1].attempt if message.attempts else 0
        head = (message.generation, attempts, birth(message), self.keep_until(completed))
        body = (vault.seal(job_id, encode_job(message.job)), history(message, vault))
        facts = (status, completed, error, reason, int(dead), callback)
        fences = (callback_generation, callback_attempt, callback_error)
        keys = (state_key(job_id), log_key(job_id))
        made = bool(await self._batcher.run("EVALSHA", self._revive, 2, *keys, *head, *body, *facts, *fences))
        if made:
            names = (*index.lasting(message.job), *index.final(status, reason, dead))
            if callback == "failed":
                names += ("dead:callback",)
            first, *rest = index.enters(message.tenant, job_id, message.created_at, *names)
            await self._batcher.run(*first, also=tuple(rest))
            self._tenants.note(message.tenant)
        return made
