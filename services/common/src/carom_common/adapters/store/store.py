"""Job records and fences, one method a transition. docs and Lua: scripts/*.lua beside this module."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from carom_common.adapters.store.batch import Batcher, StoreUnavailable
from carom_common.contracts.job import encode_job
from carom_common.contracts.message import Attempt, CallbackMessage, ExecuteMessage, decode_attempt, encode_attempt
from carom_common.domain.clock import now_ms

__all__ = ["Claim", "Lease", "Settlement", "Store", "StoreUnavailable", "StoredJob"]

SMALL_JOB_BYTES = 4096
"""A claim sends jobs up to this size along, so that a missing record costs no second round trip."""
LEASE_MS = 10_000
PROBE_KEPT_MS = 10_000

_dumps = msgspec.json.Encoder().encode


class Lease(NamedTuple):
    """Who runs an attempt: one delivery of one message in one process."""

    job_id: str
    message_id: str
    owner: str


@dataclass(slots=True, frozen=True)
class Claim:
    """What a claim found.

    run: make the call; `claims` deliveries have begun it, this one included.
    settled: this copy settled already, `stored` says what; publish the next step again.
    leased: another delivery runs it, for at most `lease_ms` more. drop: acknowledge and forget.
    """

    verdict: Literal["run", "settled", "leased", "drop"]
    lease_ms: int = 0
    claims: int = 0
    why: str = ""
    stored: tuple[Any, ...] = ()


@dataclass(slots=True, frozen=True)
class Settlement:
    """The outcome of an attempt: `waiting` with an eta, or a final status. Times in Unix milliseconds."""

    status: Literal["waiting", "completed", "failed"]
    now: int
    eta: int
    error: str
    dead: bool
    entry: Attempt


class StoredJob(NamedTuple):
    """A record as it is kept: the fields of its state, the job as JSON, its attempts as JSON."""

    state: dict[str, str]
    job: bytes
    attempts: list[bytes]


class Store:
    """Every method raises StoreUnavailable when Redis cannot be asked; asking again is always safe."""

    def __init__(self, url: str, retention_seconds: int, dead_retention_seconds: int) -> None:
        self._batcher = Batcher(url)
        self._retention = retention_seconds * 1000
        self._dead_retention = dead_retention_seconds * 1000
        register = self._batcher.register
        self._queued, self._claim, self._settle, self._lease = map(register, ("queued", "claim", "settle", "lease"))
        self._callback_claim, self._callback_settle = map(register, ("callback_claim", "callback_settle"))

    @property
    def state(self) -> str:
        return "ok" if self._batcher.healthy else "not available"

    async def probe(self) -> None:
        """See whether Redis takes writes; only this makes the state "ok" again once it was not."""
        await self._batcher.run("SET", "carom:probe", "1", "PX", PROBE_KEPT_MS)
        self._batcher.healthy = True

    async def close(self) -> None:
        await self._batcher.close()

    def _run(self, sha: str, job_id: str, *args: Any) -> Any:
        return self._batcher.run("EVALSHA", sha, 2, f"carom:{{{job_id}}}:state", f"carom:{{{job_id}}}:log", *args)

    def _kept_while_open(self, eta: int) -> int:
        return max(eta, now_ms()) + self._dead_retention

    async def record_queued(self, message: ExecuteMessage, job: bytes) -> None:
        """Make the record of an accepted job, unless an executor made it first."""
        await self._run(self._queued, message.job_id, job, message.created_at, self._kept_while_open(0))

    async def claim(self, message: ExecuteMessage, lease: Lease, *, ask_only: bool = False) -> Claim:
        """Claim the attempt for 10 s, or only ask whether its message is still due."""
        lease_ms = 0 if ask_only else LEASE_MS
        fence = (message.generation, message.attempt, lease.message_id, lease.owner)
        head = (now_ms(), *fence, lease_ms, self._kept_while_open(0))
        job, history = encode_job(message.job), _history(message.attempts)
        small = len(job) <= SMALL_JOB_BYTES
        reply = await self._run(self._claim, message.job_id, *head, message.created_at, job if small else b"", history)
        if reply[0] == b"unknown":
            reply = await self._run(self._claim, message.job_id, *head, message.created_at, job, history)
        return _claim_of(reply)

    async def settle(self, message: ExecuteMessage, lease: Lease, outcome: Settlement) -> bool:
        """Record the outcome; False when another delivery owns the attempt: then nothing may be published."""
        head = (outcome.now, message.generation, message.attempt, lease.message_id, lease.owner)
        keep = self._kept_while_open(outcome.eta)
        if outcome.eta == 0:
            keep = outcome.now + (self._dead_retention if outcome.dead else self._retention)
        has_callback = int(message.job.callback_url is not None)
        tail = (
            outcome.status,
            outcome.eta,
            outcome.error,
            int(outcome.dead),
            has_callback,
            encode_attempt(outcome.entry),
        )
        reply = await self._run(self._settle, message.job_id, *head, keep, message.created_at, b"", b"[]", *tail)
        if reply == b"unknown":
            job, history = encode_job(message.job), _history(message.attempts)
            reply = await self._run(self._settle, message.job_id, *head, keep, message.created_at, job, history, *tail)
        return bool(reply == b"ok")

    async def renew(self, lease: Lease) -> bool:
        """Extend an attempt's lease by 10 s; False when it is lost."""
        return bool(await self._run(self._lease, lease.job_id, "owner", "lease", lease.owner, LEASE_MS))

    async def release(self, lease: Lease) -> None:
        await self._run(self._lease, lease.job_id, "owner", "lease", lease.owner, 0)

    async def claim_callback(self, message: CallbackMessage, lease: Lease, *, ask_only: bool = False) -> Claim:
        """Claim an attempt to call back, as `claim` does for an attempt to execute."""
        lease_ms = 0 if ask_only else LEASE_MS
        fence = (message.generation, message.callback_generation, message.callback_attempt)
        head = (*fence, lease.message_id, lease.owner, lease_ms, self._kept_while_open(0), message.created_at)
        tail = (len(message.attempts), message.status, message.completed_at, message.error, int(message.dead))
        reply = await self._run(self._callback_claim, message.job_id, *head, b"", b"[]", *tail)
        if reply[0] == b"unknown":
            job, history = encode_job(message.job), _history(message.attempts)
            reply = await self._run(self._callback_claim, message.job_id, *head, job, history, *tail)
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
        fence = (
            message.generation,
            message.callback_generation,
            message.callback_attempt,
            lease.message_id,
            lease.owner,
        )
        reply = await self._run(self._callback_settle, message.job_id, *fence, keep, status, eta, error, int(dead))
        if reply == b"unknown":
            await self.claim_callback(message, lease)
            reply = await self._run(self._callback_settle, message.job_id, *fence, keep, status, eta, error, int(dead))
        return bool(reply == b"ok")

    async def renew_callback(self, lease: Lease) -> bool:
        fields = ("callback_owner", "callback_lease")
        return bool(await self._run(self._lease, lease.job_id, *fields, lease.owner, LEASE_MS))

    async def release_callback(self, lease: Lease) -> None:
        await self._run(self._lease, lease.job_id, "callback_owner", "callback_lease", lease.owner, 0)

    async def fetch(self, job_id: str) -> StoredJob | None:
        """The record as it is now, or None when there is none (any more)."""
        fields = await self._batcher.run("HGETALL", f"carom:{{{job_id}}}:state")
        entries: list[bytes] = await self._batcher.run("LRANGE", f"carom:{{{job_id}}}:log", 0, -1)
        if not fields or not entries:
            return None
        return StoredJob(_text_fields(fields), entries[0], entries[1:])


def _text_fields(fields: Any) -> dict[str, str]:
    pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
    return {key.decode(): value.decode("utf-8", "replace") for key, value in pairs}


def _history(attempts: tuple[Attempt, ...]) -> bytes:
    return _dumps([encode_attempt(attempt).decode() for attempt in attempts]) if attempts else b"[]"


def _claim_of(reply: list[Any]) -> Claim:
    match reply[0]:
        case b"run":
            return Claim("run", claims=int(reply[1]))
        case b"leased":
            return Claim("leased", lease_ms=int(reply[1]))
        case b"settled":
            return Claim("settled", stored=tuple(reply[1:]))
        case _:
            return Claim("drop", why=reply[1].decode())


def stored_settlement(stored: tuple[Any, ...]) -> Settlement:
    """What `settle` recorded, from the reply of the claim that found it."""
    status, eta, completed, error, dead, entry = stored
    now = int(completed) or now_ms()
    return Settlement(
        status.decode(), now, int(eta), error.decode("utf-8", "replace"), dead == b"1", decode_attempt(entry)
    )
