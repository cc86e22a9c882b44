"""What a check of broker and store makes of a record, whose message may be gone, and of a dead letter. Pure.

A record whose step is due for a while has a message somewhere: in a work queue, in a consumer's hands, or, held, in a
delay bucket. Where it is in none of them is found out elsewhere; here is who is asked about at all.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

from carom_common.contracts.job import FINAL_STATUSES, FinalStatus
from carom_common.contracts.message import CallbackMessage, ExecuteMessage
from carom_common.domain.clock import parse_rfc3339

State = Mapping[str, str]
Step = Literal["execute", "callback"]

_EXECUTE_MARKS = ("generation", "attempt", "status", "updated", "eta", "owner", "lease", "claims", "holds", "owed")
_CALLBACK_MARKS = (
    "generation", "status", "callback", "callback_generation", "callback_attempt", "callback_eta", "callback_owner",
    "callback_lease", "callback_claims", "callback_holds", "owed",
)  # fmt: skip
FIELDS = tuple(
    dict.fromkeys((*_EXECUTE_MARKS, *_CALLBACK_MARKS, "wait_reason", "completed", "shown_until", "tenant", "created"))
)
"""What is read of a state to judge it."""
BRIEF = ("status", "callback")
"""What is read of very many to see which of them are to be judged."""


class Suspect(NamedTuple):
    """A job whose next step is due, unleased and perhaps without its message.

    `mark`: whatever happens to the step changes it. `held`: its message may be in a delay bucket for now.
    """

    step: Step
    mark: int
    held: bool


def is_open(status: str | None, callback: str | None) -> bool:
    """Whether a job still has a step to come."""
    return bool(status) and (status not in FINAL_STATUSES or callback == "pending")


def suspect(state: State, before: int) -> Suspect | None:
    """Whether the step that is next was due, and nobody had it, before a time in Unix milliseconds.

    Not what an act owes: the outbox publishes that. Not what is due later: its message is in a delay bucket.
    """
    status = state.get("status", "")
    if state.get("owed") or not is_open(status, state.get("callback")) or _is_tombstone(state, before):
        return None
    if status not in FINAL_STATUSES:
        since = max(_number(state, field) for field in ("eta", "lease", "updated"))
        found = Suspect("execute", _mark(state, _EXECUTE_MARKS), bool(state.get("wait_reason")))
    else:
        since = max(_number(state, field) for field in ("completed", "updated", "callback_eta", "callback_lease"))
        found = Suspect("callback", _mark(state, _CALLBACK_MARKS), _number(state, "callback_holds") > 0)
    return found if since < before else None


class Letter(NamedTuple):
    """What a dead letter says of its job: all that its record needs. Times in Unix milliseconds."""

    message: ExecuteMessage | CallbackMessage
    status: FinalStatus
    completed: int
    error: str
    reason: str
    dead: bool
    callback: Literal["none", "failed"]
    callback_generation: int = 1
    callback_attempt: int = 0
    callback_error: str = ""


def letter_of_job(message: ExecuteMessage) -> Letter:
    """A job whose retries are spent. Whether it was called back nobody knows: where not, that has its own message."""
    last = message.attempts[-1] if message.attempts else None
    completed = parse_rfc3339(last.timestamp) + last.duration_ms if last is not None else message.created_at
    error, reason = (last.error or "", last.reason) if last is not None else ("", "")
    return Letter(message, "failed", completed, error, reason, True, "none")


def letter_of_callback(message: CallbackMessage, error: str) -> Letter:
    """A result that could not be delivered; `error` says why."""
    status = cast(FinalStatus, message.status)
    fences = (message.callback_generation, message.callback_attempt, error)
    return Letter(message, status, message.completed_at, message.error, message.reason, message.dead, "failed", *fences)


def _is_tombstone(state: State, now: int) -> bool:
    """Of a record that is gone the state may stay, for copies that are out still."""
    return 0 < _number(state, "shown_until") <= now


def _mark(state: State, fields: tuple[str, ...]) -> int:
    return hash(tuple(state.get(field, "") for field in fields))


def _number(state: State, field: str) -> int:
    return int(state.get(field) or 0)
