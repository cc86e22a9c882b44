"""The messages that an act on a job owes, made from its record. Pure."""

from collections.abc import Sequence
from typing import Any, cast

from carom_common.contracts.job import FINAL_STATUSES, decode_job
from carom_common.contracts.message import (
    DEFAULT_TENANT,
    VERSION,
    Attempt,
    CallbackMessage,
    ExecuteMessage,
    decode_attempt,
    shortened,
    without_detail,
)

State = dict[str, str]


def is_due(state: State, owed: str) -> bool:
    """Whether nobody has begun what is owed: else its message was published, and only the note is left."""
    if owed.startswith("execute"):
        return state["status"] == "queued"
    begun = int(state.get("callback_attempt") or 0) or int(state.get("callback_claims") or 0)
    return state["status"] in FINAL_STATUSES and state.get("callback") == "pending" and not begun


def execute_message(
    job_id: str, state: State, job: bytes, attempts: Sequence[bytes], traceparent: str
) -> ExecuteMessage:
    """The next attempt of a job, at once."""
    settled = int(state["attempt"])
    return ExecuteMessage(
        version=VERSION,
        tenant=state.get("tenant", DEFAULT_TENANT),
        job_id=job_id,
        job=decode_job(job),
        created_at=int(state["created"]),
        generation=int(state["generation"]),
        attempt=settled + 1,
        attempts=_carried(attempts[:settled]),
        traceparent=traceparent,
        base=int(state.get("base") or 0),
        expires=int(state.get("expires") or 0),
    )


def callback_message(
    job_id: str, state: State, job: bytes, attempts: Sequence[bytes], traceparent: str
) -> CallbackMessage:
    """The first attempt to call back what a final job's record says: the same body as ever."""
    return CallbackMessage(
        version=VERSION,
        tenant=state.get("tenant", DEFAULT_TENANT),
        job_id=job_id,
        job=decode_job(job),
        created_at=int(state["created"]),
        status=cast(Any, state["status"]),
        completed_at=int(state["completed"]),
        error=state.get("error", ""),
        reason=state.get("reason", "") if state["status"] != "completed" else "",
        dead=state.get("dead") == "1",
        generation=int(state["generation"]),
        attempts=_carried(attempts[: int(state["attempt"])]),
        callback_generation=int(state.get("callback_generation") or 1),
        traceparent=traceparent,
    )


def _carried(entries: Sequence[bytes]) -> tuple[Attempt, ...]:
    """The attempts as messages carry them: the last response whole, the others shortened."""
    attempts = [decode_attempt(entry) for entry in entries]
    return (*map(shortened, attempts[:-1]), *map(without_detail, attempts[-1:]))
