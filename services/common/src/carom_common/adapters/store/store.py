"""Job records and fences, one method a transition. docs and Lua: scripts/*.lua beside this module."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import msgspec

from carom_common.adapters.store import index
from carom_common.adapters.store.batch import Batcher, Command, StoreUnavailable
from carom_common.adapters.store.events import event
from carom_common.adapters.store.records import StoredJob, fetch_record, log_key, state_key
from carom_common.adapters.store.replies import text_fields
from carom_common.adapters.store.stats import Tally
from carom_common.contracts.job import encode_job
from carom_common.contracts.message import Attempt, CallbackMessage, ExecuteMessage, decode_attempt, encode_attempt
from carom_common.domain.clock import now_ms, parse_rfc3339

__all__ = ["Claim", "Lease", "Settlement", "Store", "StoreUnavailable"]

SMALL_JOB_BYTES = 4096
"""A claim sends jobs up to this size along, so that a missing record costs no second round trip."""
LEASE_MS = 10_000
PROBE_KEPT_MS = 10_000

_dumps = msgspec.json.Encoder().encode


FINAL_ALREADY = 2


class Renewal(IntEnum):
    """What became of a lease."""

    LOST = 0
    KEPT = 1
    CANCELLED = 2


class Lease(NamedTuple):
    """Who runs an attempt: one delivery of one message in one process."""

    job_id: str
    message_id: str
    owner: str


@dataclass(slots=True, frozen=True)
class Claim:
    """What a claim found.

    run: make the call; `claims` deliveries have begun it, this one included; or it was held `holds` times.
    settled: this copy settled already, `stored` says what; publish the next step again.
    leased: another delivery runs it, for at most `lease_ms` more. drop: acknowledge and forget.
    """

    verdict: Literal["run", "settled", "leased", "drop"]
    lease_ms: int = 0
    claims: int = 0
    why: str = ""
    holds: int = 0
    stored: tuple[Any, ...] = ()


@dataclass(slots=True, frozen=True)
class Settlement:
    """The outcome of an attempt: `waiting` with an eta, or a final status. Times in Unix milliseconds.

    `entry` is None where the job expired before its call. `reason` is the code of what went wrong.
    """

    status: Literal["waiting", "completed", "failed", "expired"]
    now: int
    eta: int
    error: str
    dead: bool
    reason: str
    entry: Attempt | None


class Store:
    """Every method raises StoreUnavailable when Redis cannot be asked; asking again is always safe."""

    def __init__(self, url: str, retention_seconds: int, dead_retention_seconds: int) -> None:
        self._batcher = Batcher(url)
        self.tally = Tally(self._batcher)
        self._retention = retention_seconds * 1000
        self._dead_retention = dead_retention_seconds * 1000
        register = self._batcher.register
        self._queued, self._claim, self._settle, self._lease = map(register, ("queued", "claim", "settle", "lease"))
        self._callback_claim, self._callback_settle = map(register, ("callback_claim", "callback_settle"))
        self._event_claim, self._event_settle = map(register, ("event_claim", "event_settle"))

    @property
    def batcher(self) -> Batcher:
        """The connection, for what else is kept in the store."""
        return self._batcher

    @property
    def state(self) -> str:
        return "ok" if self._batcher.healthy else "not available"

    async def probe(self) -> None:
        """See whether Redis takes writes; only this makes the state "ok" again once it was not."""
        await self._batcher.run("SET", "carom:probe", "1", "PX", PROBE_KEPT_MS)
        self._batcher.healthy = True

    async def close(self) -> None:
        await self._batcher.close()

    def _run(self, sha: str, job_id: str, *args: Any, also: tuple[Command, ...] = ()) -> Any:
        return self._batcher.run("EVALSHA", sha, 2, state_key(job_id), log_key(job_id), *args, also=also)

    def _kept_while_open(self, eta: int) -> int:
        return max(eta, now_ms()) + self._dead_retention

    async def record_queued(self, message: ExecuteMessage, job: bytes) -> None:
        """Make the record of an accepted job, unless an executor made it first."""
        keep = self._kept_while_open(message.eta)
        told = _event(message, "scheduled" if message.eta else "queued", message.base, message.created_at)
        also = (*_entered(message), told)
        reply = await self._run(self._queued, message.job_id, job, message.eta, _birth(message), keep, also=also)
        self.tally.count(message.tenant, "accepted")
        if reply == FINAL_ALREADY:
            self._batcher.post(*index.leaves(message.tenant, message.job_id, "open"))

    async def claim(self, message: ExecuteMessage, lease: Lease, *, ask_only: bool = False, held: str = "") -> Claim:
        """Claim the attempt for 10 s, or only ask whether its message is still due; `held` notes why it waits."""
        lease_ms = 0 if ask_only else LEASE_MS
        fence = (message.generation, message.attempt, lease.message_id, lease.owner)
        now = now_ms()
        head = (now, *fence, lease_ms, self._kept_while_open(message.eta), message.eta, _birth(message))
        job, history = encode_job(message.job), _history(message.attempts)
        small = len(job) <= SMALL_JOB_BYTES
        reply = await self._run(self._claim, message.job_id, *head, job if small else b"", history, held)
        if reply[0] == b"unknown":
            reply = await self._run(self._claim, message.job_id, *head, job, history, held)
        if reply[0] == b"run":
            if reply[2]:
                self._batcher.post(*_entered(message))
                if message.attempt == 1 and not message.eta:  # as intake does, which is slower here: see Order
                    self._batcher.post(_event(message, "queued", message.base, message.created_at))
            elif message.generation > 1:  # who runs a job again may be gone before it told the indexes
                self._batcher.post(*index.enters(message.tenant, message.job_id, message.created_at, "open"))
            if held and not reply[3]:
                entered = index.enters(message.tenant, message.job_id, message.created_at, "held")
                self._batcher.post(*entered, _event(message, "held", message.attempt - 1, now))
            if not ask_only:
                if reply[3]:
                    self._batcher.post(*index.leaves(message.tenant, message.job_id, "held"))
                self._batcher.post(_event(message, "in_progress", message.attempt, now))
                self.tally.begun(message.tenant, message.job_id, max(0, now - (message.eta or message.created_at)))
        elif reply[0] == b"settled" and not ask_only:
            # Whoever settled it may have died before it told.
            self._tell_outcome(message, stored_settlement(tuple(reply[1:])))
        return _claim_of(reply)

    async def settle(self, message: ExecuteMessage, lease: Lease, outcome: Settlement) -> bool:
        """Record the outcome; False when another delivery owns the attempt: then nothing may be published."""
        head = (outcome.now, message.generation, message.attempt, lease.message_id, lease.owner)
        keep = self._kept_while_open(outcome.eta)
        if outcome.eta == 0:
            keep = outcome.now + (self._dead_retention if outcome.dead else self._retention)
        calls_back = int(outcome.status != "waiting" and message.job.wants(outcome.status))
        tail = (
            outcome.status,
            outcome.eta,
            outcome.error,
            int(outcome.dead),
            calls_back,
            outcome.reason if outcome.status != "completed" else "",
            encode_attempt(outcome.entry) if outcome.entry is not None else b"",
        )
        birth = _birth(message)
        reply = await self._run(self._settle, message.job_id, *head, keep, birth, b"", b"[]", *tail)
        if reply == b"unknown":
            job, history = encode_job(message.job), _history(message.attempts)
            reply = await self._run(self._settle, message.job_id, *head, keep, birth, job, history, *tail)
        self.tally.ended(message.job_id)
        if reply != b"ok":
            return False
        self._tally_outcome(message, outcome)
        self._tell_outcome(message, outcome)
        return True

    def _tell_outcome(self, message: ExecuteMessage, outcome: Settlement) -> None:
        attempt = message.attempt if outcome.entry is not None else message.attempt - 1
        self._batcher.post(_event(message, outcome.status, attempt, outcome.now), *_left(message, outcome))

    def _tally_outcome(self, message: ExecuteMessage, outcome: Settlement) -> None:
        if outcome.entry is not None:
            self.tally.count(message.tenant, "attempts")
        if outcome.status == "waiting":
            self.tally.count(message.tenant, "retried")
        else:
            self.tally.finished(message.tenant, outcome.status, max(0, outcome.now - _due(message)))

    async def renew(self, lease: Lease) -> Renewal:
        """Extend an attempt's lease by 10 s, unless it is lost or the job was cancelled."""
        self.tally.goes_on(lease.job_id)
        return Renewal(await self._run(self._lease, lease.job_id, "owner", "lease", lease.owner, LEASE_MS))

    async def release(self, lease: Lease) -> None:
        self.tally.ended(lease.job_id)
        await self._run(self._lease, lease.job_id, "owner", "lease", lease.owner, 0)

    async def claim_callback(self, message: CallbackMessage, lease: Lease, *, ask_only: bool = False) -> Claim:
        """Claim an attempt to call back, as `claim` does for an attempt to execute."""
        lease_ms = 0 if ask_only else LEASE_MS
        if message.event == "attempt":
            fence = (message.callback_attempt, lease.message_id, lease.owner, lease_ms, self._kept_while_open(0))
            return _claim_of(await self._run_event(self._event_claim, message, *fence))
        fences = (message.generation, message.callback_generation, message.callback_attempt)
        head = (*fences, lease.message_id, lease.owner, lease_ms, self._kept_while_open(message.eta), _birth(message))
        facts = (message.status, message.completed_at, message.error, int(message.dead), message.reason)
        tail = (len(message.attempts), *facts)
        reply = await self._run(self._callback_claim, message.job_id, *head, b"", b"[]", *tail)
        if reply[0] == b"unknown":
            job, history = encode_job(message.job), _history(message.attempts)
            reply = await self._run(self._callback_claim, message.job_id, *head, job, history, *tail)
        if reply[0] == b"run" and reply[2]:
            names = (*index.lasting(message.job), *index.final(message.status, message.reason, message.dead))
            attempt = message.attempts[-1].attempt if message.attempts else 0
            self._batcher.post(
                *index.enters(message.tenant, message.job_id, message.created_at, *names),
                _event(message, message.status, attempt, message.completed_at),
            )
        elif reply[0] == b"settled" and not ask_only:
            self._tell_callback(message, reply[1].decode())
        return _claim_of(reply)

    async def settle_callback(
        self,
        message: CallbackMessage,
        lease: Lease,
        status: Literal["pending", "delivered", "failed"],
        eta: int,
        error: str,
        dead: bool,
    ) -> bool:
        """Record an attempt to call back; False when another delivery owns it."""
        kept = self._dead_retention if dead or message.dead else self._retention
        keep = self._kept_while_open(eta) if status == "pending" else now_ms() + kept
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
        reply = await self._run(self._callback_settle, message.job_id, *fences, *tail, also=also)
        if reply == b"unknown":
            await self.claim_callback(message, lease)
            reply = await self._run(self._callback_settle, message.job_id, *fences, *tail, also=also)
        if reply != b"ok":
            return False
        self.tally.count(message.tenant, "callbackAttempts")
        if status != "pending":
            self.tally.count(message.tenant, "callbacksDelivered" if status == "delivered" else "callbacksFailed")
        self._tell_callback(message, status)
        return True

    def _tell_callback(self, message: CallbackMessage, status: str) -> None:
        what = "callback.waiting" if status == "pending" else f"callback.{status}"
        self._batcher.post(_event(message, what, message.callback_attempt, now_ms()))

    def _run_event(self, sha: str, message: CallbackMessage, *args: Any) -> Any:
        return self._batcher.run("EVALSHA", sha, 1, _event_fence(message), *args)

    async def renew_callback(self, lease: Lease) -> Renewal:
        fields = ("callback_owner", "callback_lease")
        return Renewal(await self._run(self._lease, lease.job_id, *fields, lease.owner, LEASE_MS))

    async def release_callback(self, lease: Lease) -> None:
        await self._run(self._lease, lease.job_id, "callback_owner", "callback_lease", lease.owner, 0)

    async def renew_event(self, message: CallbackMessage, lease: Lease) -> Renewal:
        return Renewal(await self._run_event(self._lease, message, "owner", "lease", lease.owner, LEASE_MS))

    async def release_event(self, message: CallbackMessage, lease: Lease) -> None:
        await self._run_event(self._lease, message, "owner", "lease", lease.owner, 0)

    async def fetch(self, job_id: str) -> StoredJob | None:
        """The record as it is now, or None when there is none (any more)."""
        return await fetch_record(self._batcher, job_id)

    async def state_of(self, job_id: str) -> dict[str, str] | None:
        """The fields of a record alone, or None when there is no such job (any more)."""
        return text_fields(await self._batcher.run("HGETALL", state_key(job_id))) or None


def _due(message: ExecuteMessage) -> int:
    """When the job could be called first, in Unix milliseconds."""
    job = message.job
    if job.run_at is None:
        return message.created_at + (job.delay or 0)
    return max(message.created_at, parse_rfc3339(job.run_at))


def _birth(message: ExecuteMessage | CallbackMessage) -> bytes:
    """What never changes of a record, as scripts/record.lua takes it."""
    expires, base = (message.expires, message.base) if isinstance(message, ExecuteMessage) else (0, 0)
    return f'[{message.created_at},"{message.tenant}",{expires},{base}]'.encode()


def _event(message: ExecuteMessage | CallbackMessage, what: str, attempt: int, now: int) -> Command:
    return event(message.tenant, message.job_id, what, message.generation, attempt, now)


def _event_fence(message: CallbackMessage) -> str:
    return f"carom:{{{message.job_id}}}:event:{message.generation}:{len(message.attempts)}"


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


def _history(attempts: tuple[Attempt, ...]) -> bytes:
    return _dumps([encode_attempt(attempt).decode() for attempt in attempts]) if attempts else b"[]"


def _claim_of(reply: list[Any]) -> Claim:
    match reply[0]:
        case b"run":
            return Claim("run", claims=int(reply[1]), holds=int(reply[4]) if len(reply) > 4 else 0)
        case b"leased":
            return Claim("leased", lease_ms=int(reply[1]))
        case b"settled":
            return Claim("settled", stored=tuple(reply[1:]))
        case _:
            return Claim("drop", why=reply[1].decode())


def stored_settlement(stored: tuple[Any, ...]) -> Settlement:
    """What `settle` recorded, from the reply of the claim that found it."""
    status, eta, completed, error, dead, reason, entry = stored
    now = int(completed) or now_ms()
    text, code = error.decode("utf-8", "replace"), reason.decode()
    attempt = decode_attempt(entry) if entry else None
    return Settlement(status.decode(), now, int(eta), text, dead == b"1", code, attempt)
