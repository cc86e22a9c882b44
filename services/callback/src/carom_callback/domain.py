"""What a receiver gets, and what its answer means. Pure."""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
from msgspec import Raw, Struct

from carom_common.contracts.message import Attempt, CallbackMessage
from carom_common.domain.backoff import HONOURED_STATUSES, backoff_ms, retry_after_ms
from carom_common.domain.buckets import nearest
from carom_common.domain.clock import rfc3339
from carom_common.domain.signatures import Signer
from carom_common.version import USER_AGENT

JITTER = 0.1
LONGEST_RETRY_AFTER_MS = 86_400_000
GONE = 410


class FinalResponse(Struct, frozen=True, omit_defaults=True):
    """The target's last answer."""

    status: int
    body: Raw
    truncated: bool = False


class Result(Struct, frozen=True, rename="camel"):
    """The body of a callback."""

    job_id: str
    status: str
    attempts: int
    response: FinalResponse | None
    error: str
    created_at: str
    completed_at: str
    attempts_log: tuple[Attempt, ...]


_encode = msgspec.json.Encoder().encode


def webhook_body(message: CallbackMessage) -> bytes:
    """The final result as JSON: the same bytes in every repeat."""
    response = None
    if message.attempts and (last := message.attempts[-1]).status_code is not None:
        response = FinalResponse(last.status_code, last.response, last.truncated)
    return _encode(
        Result(
            job_id=message.job_id,
            status=message.status,
            attempts=len(message.attempts),
            response=response,
            error=message.error,
            created_at=rfc3339(message.created_at),
            completed_at=rfc3339(message.completed_at),
            attempts_log=message.attempts,
        )
    )


def webhook_id(message: CallbackMessage) -> str:
    """The same in every repeat of one outcome, so that receivers can deduplicate."""
    if message.event == "attempt":
        return f"{message.job_id}_{message.generation}_attempt_{len(message.attempts)}"
    return f"{message.job_id}_{message.generation}_{message.status}"


def webhook_headers(message: CallbackMessage, body: bytes, now_seconds: int, signer: Signer | None) -> dict[str, str]:
    """Standard Webhooks headers; signed when there are keys."""
    identity = webhook_id(message)
    own = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": identity,
        "webhook-timestamp": str(now_seconds),
    }
    if signer is not None:
        own["webhook-signature"] = signer.sign(identity, now_seconds, body)
    target = message.job.callback
    if target is None or not target.headers:
        return own
    ours = {name.lower() for name in own} - {"user-agent"}
    given = {name: value for name, value in target.headers.items() if name.lower() not in ours}
    if any(name.lower() == "user-agent" for name in given):
        del own["User-Agent"]
    return {**own, **given}


class Decision(NamedTuple):
    """What to do after a call: done, again at `eta` in `wait` ms, or the end (`dead`: into the dead-letter queue)."""

    status: Literal["delivered", "pending", "failed"]
    outcome: Literal["delivered", "retried", "exhausted", "gone", "refused"]
    eta: int
    wait: int
    error: str
    dead: bool


def judge_answer(
    message: CallbackMessage,
    status: int,
    retry_after: str | None,
    delays: Sequence[float],
    now: int,
    rng: random.Random | None = None,
) -> Decision:
    """2xx delivers, 410 ends it, everything else is tried again."""
    if 200 <= status < 300:
        return Decision("delivered", "delivered", 0, 0, "", False)
    error = f"the receiver answered {status}"
    if status == GONE:
        return Decision("failed", "gone", 0, 0, error, False)
    asked = retry_after_ms(retry_after, now) if status in HONOURED_STATUSES else None
    return _again(message, error, asked, delays, now, rng)


def judge_failure(
    message: CallbackMessage,
    error: str,
    retryable: bool,
    delays: Sequence[float],
    now: int,
    rng: random.Random | None = None,
) -> Decision:
    """No answer: tried again, unless trying again cannot help."""
    if not retryable:
        return Decision("failed", "refused", 0, 0, error, message.event == "final")
    return _again(message, error, None, delays, now, rng)


def _again(
    message: CallbackMessage,
    error: str,
    asked: int | None,
    delays: Sequence[float],
    now: int,
    rng: random.Random | None,
) -> Decision:
    failed = message.callback_attempt
    target = message.job.callback
    retry = target.retry if target is not None else None
    if failed > (len(delays) if retry is None else retry.max_retries):
        # An attempt's outcome is news: it grows stale, and nobody redrives it.
        dead = message.event == "final"
        return Decision("failed", "exhausted", 0, 0, f"{error} ({failed} attempts)", dead)
    if asked is not None:
        wait = max(1, min(asked, LONGEST_RETRY_AFTER_MS))
    elif retry is not None:
        wait = backoff_ms(retry.policy, retry.retry_delay, failed, rng)
    else:
        delay = delays[failed - 1] * 1000 * (rng or random).uniform(1 - JITTER, 1 + JITTER)
        wait = nearest(delay, LONGEST_RETRY_AFTER_MS)
    return Decision("pending", "retried", now + wait, wait, error, False)


def crash_loop(message: CallbackMessage) -> Decision:
    """The outcome of a callback that the broker gave up on."""
    error = "crash-loop: the callback was delivered too often without an outcome"
    return Decision("failed", "exhausted", 0, 0, error, message.event == "final")


def retry_message(message: CallbackMessage, eta: int) -> CallbackMessage:
    return msgspec.structs.replace(message, callback_attempt=message.callback_attempt + 1, eta=eta)
