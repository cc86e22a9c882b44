"""The messages that an act on a job owes, made from its record. Pure."""

from collections.abc import Sequence
from typing import Any, cast

from carom_common.contracts.job import FINAL_STATUSES, decode_job
from carom_common.contracts.message import (
    DEFAULT_TENANT,
    VERSION,
    CallbackMessage,
    ExecuteMessage,
    carried,
    decode_attempt,
)

State = dict[str, str]


def is_due(state: State, owed: str) -> bool:
    """Whether nobody has begun what is owed: else its message was published, and only the note is left."""
    if owed.startswith("execute"):
        return state["status"] == "queued"
    if owed.startswith("news"):
        return state["status"] == "cancelled"
    begun = int(state.get("callback_attempt") or 0) or int(state.get("callback_claims") or 0)
    return state["status"] in FINAL_STATUSES and state.get("callback") == "pending" and not begun


def execute_message(
    job_id: str, state: State, job: bytes, attempts: Sequence[bytes], traceparent: str
) -> ExecuteMessage:
    """The next attempt of a job, at the time that its record says."""
    settled = int(state["attempt"])
    return ExecuteMessage(
        **_head(job_id, state, job, attempts[:settled], traceparent),
        attempt=settled + 1,
        eta=int(state.get("eta") or 0),
        base=int(state.get("base") or 0),
        expires=int(state.get("expires") or 0),
    )


def callback_message(
    job_id: str, state: State, job: bytes, attempts: Sequence[bytes], traceparent: str
) -> CallbackMessage:
    """The next attempt to call back what a final job's record says: the same body as ever."""
    return CallbackMessage(
        **_head(job_id, state, job, attempts[: int(state["attempt"])], traceparent),
        status=cast(Any, state["status"]),
        completed_at=int(state["completed"]),
        error=state.get("error", ""),
        reason=state.get("reason", "") if state["status"] != "completed" else "",
        dead=state.get("dead") == "1",
        callback_generation=int(state.get("callback_generation") or 1),
        callback_attempt=int(state.get("callback_attempt") or 0) + 1,
        eta=int(state.get("callback_eta") or 0),
    )


def _head(job_id: str, state: State, job: bytes, attempts: Sequence[bytes], traceparent: str) -> dict[str, Any]:
    """What both kinds of message say of a job."""
    return {
        "version": VERSION,
        "tenant": state.get("tenant", DEFAULT_TENANT),
        "job_id": job_id,
        "job": decode_job(job),
        "created_at": int(state["created"]),
        "generation": int(state["generation"]),
        "attempts": carried([decode_attempt(entry) for entry in attempts]),
        "traceparent": traceparent,
    }
