"""The record and fences of a job until it is final, one method a transition. Lua: scripts/*.lua."""

from carom_common.adapters.store import index, transitions
from carom_common.adapters.store.batch import Batcher, Command
from carom_common.adapters.store.stats import Tally
from carom_common.adapters.store.tenants import Tenants
from carom_common.adapters.store.transitions import (
    Claim,
    Fences,
    Kept,
    Lease,
    Renewal,
    Settlement,
    birth,
    claim_of,
    history,
    stored_settlement,
    told,
)
from carom_common.contracts.job import encode_job
from carom_common.contracts.message import ExecuteMessage, encode_attempt
from carom_common.domain.clock import now_ms, parse_rfc3339

SMALL_JOB_BYTES = 4096
"""A claim sends jobs up to this size along, so that a missing record costs no second round trip."""
FINAL_ALREADY = 2


class Executions(Fences):
    """Every method raises StoreUnavailable when Redis cannot be asked; asking again is always safe.

    A claim raises Unsealable where it finds an outcome that cannot be opened.
    """

    def __init__(self, batcher: Batcher, tally: Tally, tenants: Tenants, kept: Kept) -> None:
        super().__init__(batcher, tally, tenants, kept)
        register = batcher.register
        self._queued, self._claim, self._settle, self._lease = map(register, ("queued", "claim", "settle", "lease"))

    async def record_queued(self, message: ExecuteMessage, job: bytes) -> None:
        """Make the record of an accepted job, unless an executor made it first."""
        keep = self._kept.while_open(message.eta)
        accepted = told(message, "scheduled" if message.eta else "queued", message.base, message.created_at)
        also = (*_entered(message), accepted)
        job = self._vault.seal(message.job_id, job)
        reply = await self._run(self._queued, message.job_id, job, message.eta, birth(message), keep, also=also)
        self._tally.count(message.tenant, "accepted")
        if reply == FINAL_ALREADY:
            self._batcher.post(*index.leaves(message.tenant, message.job_id, "open"))

    async def claim(self, message: ExecuteMessage, lease: Lease, *, ask_only: bool = False, held: str = "") -> Claim:
        """Claim the attempt for 10 s, or only ask whether its message is still due; `held` notes why it waits."""
        fence = (message.generation, message.attempt, lease.message_id, lease.owner)
        now = now_ms()
        head = (now, *fence, transitions.LEASE_MS, self._kept.while_open(message.eta), message.eta, birth(message))
        job, attempts = self._vault.seal(message.job_id, encode_job(message.job)), history(message, self._vault)
        tail = (attempts, int(ask_only), held)
        small = len(job) <= SMALL_JOB_BYTES
        reply = await self._run(self._claim, message.job_id, *head, job if small else b"", *tail)
        if reply[0] == b"unknown":
            reply = await self._run(self._claim, message.job_id, *head, job, *tail)
        if reply[0] == b"settled" and reply[-1]:
            reply[-1] = self._vault.open(message.job_id, reply[-1])
        if reply[0] == b"run":
            if reply[2]:
                self._tenants.note(message.tenant)
                self._batcher.post(*_entered(message))
                if message.attempt == 1 and not message.eta:  # as intake does, which is slower here: see Order
                    self._batcher.post(told(message, "queued", message.base, message.created_at))
            elif message.generation > 1:  # who runs a job again may be gone before it told the indexes
                self._batcher.post(*index.enters(message.tenant, message.job_id, message.created_at, "open"))
            if held and not reply[3]:
                entered = index.enters(message.tenant, message.job_id, message.created_at, "held")
                self._batcher.post(*entered, told(message, "held", message.attempt - 1, now))
            if not ask_only:
                if reply[3]:
                    self._batcher.post(*index.leaves(message.tenant, message.job_id, "held"))
                self._batcher.post(told(message, "in_progress", message.attempt, now))
                self._tally.begun(message.tenant, message.job_id, max(0, now - (message.eta or message.created_at)))
        elif reply[0] == b"settled" and not ask_only:
            # Whoever settled it may have died before it told.
            self._tell_outcome(message, stored_settlement(tuple(reply[1:])))
        return claim_of(reply)

    async def settle(self, message: ExecuteMessage, lease: Lease, outcome: Settlement) -> bool:
        """Record the outcome; False when another delivery owns the attempt: then nothing may be published."""
        head = (outcome.now, message.generation, message.attempt, lease.message_id, lease.owner)
        keep = self._kept.while_open(outcome.eta)
        if outcome.eta == 0:
            keep = outcome.now + (self._kept.dead if outcome.dead else self._kept.final)
        calls_back = int(outcome.status != "waiting" and message.job.wants(outcome.status))
        tail = (
            outcome.status,
            outcome.eta,
            outcome.error,
            int(outcome.dead),
            calls_back,
            outcome.reason if outcome.status != "completed" else "",
            self._vault.seal(message.job_id, encode_attempt(outcome.entry)) if outcome.entry is not None else b"",
        )
        born = birth(message)
        reply = await self._run(self._settle, message.job_id, *head, keep, born, b"", b"[]", *tail)
        if reply == b"unknown":
            job, attempts = self._vault.seal(message.job_id, encode_job(message.job)), history(message, self._vault)
            reply = await self._run(self._settle, message.job_id, *head, keep, born, job, attempts, *tail)
        self._tally.ended(message.job_id)
        if reply != b"ok":
            return False
        self._tally_outcome(message, outcome)
        self._tell_outcome(message, outcome)
        return True

    def _tell_outcome(self, message: ExecuteMessage, outcome: Settlement) -> None:
        attempt = message.attempt if outcome.entry is not None else message.attempt - 1
        self._batcher.post(told(message, outcome.status, attempt, outcome.now), *_left(message, outcome))

    def _tally_outcome(self, message: ExecuteMessage, outcome: Settlement) -> None:
        if outcome.entry is not None:
            self._tally.count(message.tenant, "attempts")
        if outcome.status == "waiting":
            self._tally.count(message.tenant, "retried")
        else:
            self._tally.finished(message.tenant, outcome.status, max(0, outcome.now - _due(message)))

    async def renew(self, lease: Lease) -> Renewal:
        """Extend an attempt's lease by 10 s, unless it is lost or the job was cancelled."""
        self._tally.goes_on(lease.job_id)
        return Renewal(await self._run(self._lease, lease.job_id, "owner", "lease", lease.owner, transitions.LEASE_MS))

    async def release(self, lease: Lease) -> None:
        self._tally.ended(lease.job_id)
        await self._run(self._lease, lease.job_id, "owner", "lease", lease.owner, 0)


def _due(message: ExecuteMessage) -> int:
    """When the job could be called first, in Unix milliseconds."""
    job = message.job
    if job.run_at is None:
        return message.created_at + (job.delay or 0)
    return max(message.created_at, parse_rfc3339(job.run_at))


def _entered(message: ExecuteMessage) -> tuple[Command, ...]:
    """What makes a new record known."""
    names = ("open", *index.lasting(message.job))
    return index.enters(message.tenant, message.job_id, message.created_at, *names)


def _left(message: ExecuteMessage, outcome: Settlement) -> tuple[Command, ...]:
    """What moves a job between the indexes when it is final."""
    if outcome.status == "waiting":
        return ()
    names = index.final(outcome.status, outcome.reason, outcome.dead)
    return (
        *index.leaves(message.tenant, message.job_id, "open"),
        *index.enters(message.tenant, message.job_id, message.created_at, *names),
    )
