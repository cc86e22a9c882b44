"""What the transitions of a job have in common: who runs an attempt, what a claim finds, what a settle records."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import msgspec

from carom_common.adapters.store.batch import Batcher, Command
from carom_common.adapters.store.events import event
from carom_common.adapters.store.records import log_key, state_key
from carom_common.adapters.store.stats import Tally
from carom_common.adapters.store.tenants import Tenants
from carom_common.contracts.message import Attempt, CallbackMessage, ExecuteMessage, decode_attempt, encode_attempt
from carom_common.contracts.sealing import Vault
from carom_common.domain.clock import now_ms

LEASE_MS = 10_000

_dumps = msgspec.json.Encoder().encode


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

    run: make the call; `claims` deliveries have begun it, this one included, and it `was_held` before that; or it was
    held `holds` times.
    settled: this copy settled already, `stored` says what; publish the next step again.
    leased: another delivery runs it, for at most `lease_ms` more. drop: acknowledge and forget.
    """

    verdict: Literal["run", "settled", "leased", "drop"]
    lease_ms: int = 0
    claims: int = 0
    why: str = ""
    holds: int = 0
    was_held: bool = False
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


class Kept(NamedTuple):
    """How long records are kept, in milliseconds: of final jobs, and of dead-lettered or unfinished ones."""

    final: int
    dead: int

    def while_open(self, eta: int) -> int:
        """Until when, in Unix milliseconds, for a job that goes on at `eta`."""
        return max(eta, now_ms()) + self.dead


class Fences:
    """What the fences of executing and of calling back work with."""

    def __init__(self, batcher: Batcher, tally: Tally, tenants: Tenants, kept: Kept) -> None:
        self._batcher = batcher
        self._vault = batcher.vault
        self._tally = tally
        self._tenants = tenants
        self._kept = kept

    def _run(self, sha: str, job_id: str, *args: Any, also: tuple[Command, ...] = ()) -> Any:
        """Run one of scripts/*.lua on the record of a job; gives what to await."""
        return self._batcher.run("EVALSHA", sha, 2, state_key(job_id), log_key(job_id), *args, also=also)


def birth(message: ExecuteMessage | CallbackMessage) -> bytes:
    """What never changes of a record, as scripts/record.lua takes it."""
    expires, base = (message.expires, message.base) if isinstance(message, ExecuteMessage) else (0, 0)
    return f'[{message.created_at},"{message.tenant}",{expires},{base}]'.encode()


def history(message: ExecuteMessage | CallbackMessage, vault: Vault) -> bytes:
    """The attempts that a message carries, as scripts/record.lua takes them."""
    if not message.attempts:
        return b"[]"
    return _dumps([vault.seal(message.job_id, encode_attempt(attempt)).decode() for attempt in message.attempts])


def told(message: ExecuteMessage | CallbackMessage, what: str, attempt: int, now: int) -> Command:
    """The command that tells what happened to a message's job."""
    return event(message.tenant, message.job_id, what, message.generation, attempt, now)


def claim_of(reply: list[Any]) -> Claim:
    """The reply of a script that claims."""
    match reply[0]:
        case b"run":
            if len(reply) < 4:  # of a callback, which nothing is noted of while it is held
                return Claim("run", claims=reply[1])
            return Claim("run", claims=reply[1], holds=reply[4], was_held=reply[3] == 1)
        case b"leased":
            return Claim("leased", lease_ms=int(reply[1]))
        case b"settled":
            return Claim("settled", stored=tuple(reply[1:]))
        case _:
            return Claim("drop", why=reply[1].decode())


def stored_settlement(stored: tuple[Any, ...]) -> Settlement:
    """What a settle recorded, from the reply of the claim that found it."""
    status, eta, completed, error, dead, reason, entry = stored
    now = int(completed) or now_ms()
    text, code = error.decode("utf-8", "replace"), reason.decode()
    attempt = decode_attempt(entry) if entry else None
    return Settlement(status.decode(), now, int(eta), text, dead == b"1", code, attempt)
