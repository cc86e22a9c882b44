"""The fences of calling back, one method a transition: of final results in the record, of attempts beside it."""

from typing import Any, Literal

from carom_common.adapters.store import index, transitions
from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.stats import Tally
from carom_common.adapters.store.tenants import Tenants
from carom_common.adapters.store.transitions import (
    Claim,
    Fences,
    Kept,
    Lease,
    Renewal,
    birth,
    claim_of,
    history,
    told,
)
from carom_common.contracts.job import encode_job
from carom_common.contracts.message import CallbackMessage
from carom_common.domain.clock import now_ms


class Callbacks(Fences):
    """Every method raises StoreUnavailable when Redis cannot be asked; asking again is always safe."""

    def __init__(self, batcher: Batcher, tally: Tally, tenants: Tenants, kept: Kept) -> None:
        super().__init__(batcher, tally, tenants, kept)
        register = batcher.register
        self._claim, self._settle, self._lease = map(register, ("callback_claim", "callback_settle", "lease"))
        self._event_claim, self._event_settle = map(register, ("event_claim", "event_settle"))

    def _run_event(self, sha: str, message: CallbackMessage, *args: Any) -> Any:
        fence = f"carom:{{{message.job_id}}}:event:{message.generation}:{len(message.attempts)}"
        return self._batcher.run("EVALSHA", sha, 1, fence, *args)

    async def claim(
        self, message: CallbackMessage, lease: Lease, *, ask_only: bool = False, held: bool = False
    ) -> Claim:
        """Claim an attempt to call back for 10 s, or only ask whether its message is still due; `held` is counted."""
        owner = (lease.message_id, lease.owner, transitions.LEASE_MS)
        if message.event == "attempt":
            fence = (message.callback_attempt, *owner, self._kept.while_open(0), int(ask_only))
            return claim_of(await self._run_event(self._event_claim, message, *fence))
        fences = (message.generation, message.callback_generation, message.callback_attempt)
        head = (*fences, *owner, self._kept.while_open(message.eta), birth(message))
        facts = (message.status, message.completed_at, message.error, int(message.dead), message.reason)
        tail = (len(message.attempts), *facts, int(ask_only), int(held))
        reply = await self._run(self._claim, message.job_id, *head, b"", b"[]", *tail)
        if reply[0] == b"unknown":
            job, attempts = self._vault.seal(message.job_id, encode_job(message.job)), history(message, self._vault)
            reply = await self._run(self._claim, message.job_id, *head, job, attempts, *tail)
        if reply[0] == b"run" and reply[2]:
            names = (*index.lasting(message.job), *index.final(message.status, message.reason, message.dead))
            attempt = message.attempts[-1].attempt if message.attempts else 0
            self._tenants.note(message.tenant)
            self._batcher.post(
                *index.enters(message.tenant, message.job_id, message.created_at, *names),
                told(message, message.status, attempt, message.completed_at),
            )
        elif reply[0] == b"settled" and not ask_only:
            self._tell(message, reply[1].decode())
        return claim_of(reply)

    async def settle(
        self,
        message: CallbackMessage,
        lease: Lease,
        status: Literal["pending", "delivered", "failed"],
        eta: int,
        error: str,
        dead: bool,
    ) -> bool:
        """Record an attempt to call back; False when another delivery owns it."""
        kept = self._kept.dead if dead or message.dead else self._kept.final
        keep = self._kept.while_open(eta) if status == "pending" else now_ms() + kept
        if message.event == "attempt":
            fence = (message.callback_attempt, lease.message_id, lease.owner)
            return bool(await self._run_event(self._event_settle, message, *fence, keep, status, eta, error) == b"ok")
        fences = (
            message.generation,
            message.callback_generation,
            message.callback_attempt,
            lease.message_id,
            lease.owner,
        )
        tail = (keep, status, eta, error, int(dead))
        # In the same round trip: no sweep mends a dead letter that no index knows.
        also = index.enters(message.tenant, message.job_id, message.created_at, "dead:callback") if dead else ()
        reply = await self._run(self._settle, message.job_id, *fences, *tail, also=also)
        if reply == b"unknown":
            await self.claim(message, lease)
            reply = await self._run(self._settle, message.job_id, *fences, *tail, also=also)
        if reply != b"ok":
            return False
        self._tally.count(message.tenant, "callbackAttempts")
        if status != "pending":
            self._tally.count(message.tenant, "callbacksDelivered" if status == "delivered" else "callbacksFailed")
        self._tell(message, status)
        return True

    def _tell(self, message: CallbackMessage, status: str) -> None:
        what = "callback.waiting" if status == "pending" else f"callback.{status}"
        self._batcher.post(told(message, what, message.callback_attempt, now_ms()))

    async def renew(self, message: CallbackMessage, lease: Lease) -> Renewal:
        """Extend the lease by 10 s, unless it is lost."""
        return Renewal(await self._set_lease(message, lease, transitions.LEASE_MS))

    async def release(self, message: CallbackMessage, lease: Lease) -> None:
        await self._set_lease(message, lease, 0)

    def _set_lease(self, message: CallbackMessage, lease: Lease, ms: int) -> Any:
        if message.event == "attempt":
            return self._run_event(self._lease, message, "owner", "lease", lease.owner, ms)
        return self._run(self._lease, lease.job_id, "callback_owner", "callback_lease", lease.owner, ms)
