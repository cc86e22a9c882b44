"""What an attempt's outcome means: success, a retry at a certain time, or the end. Pure."""

import base64
import random
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from carom_common.contracts.job import FinalStatus, Job, matches
from carom_common.contracts.message import (
    NULL,
    VERSION,
    Attempt,
    CallbackMessage,
    Detail,
    ExecuteMessage,
    carried,
)
from carom_common.domain.backoff import HONOURED_STATUSES, backoff_ms, retry_after_ms
from carom_common.domain.clock import rfc3339
from carom_common.domain.outgoing import is_json

MAX_EMBEDDED_DEPTH = 200
CRASH_LOOP = "crash-loop"
EXPIRED = "expired"
_dumps = msgspec.json.Encoder().encode
_loads = msgspec.json.Decoder().decode


class Response(NamedTuple):
    """What a target answered. `body` is cut off at the limit when `truncated`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    detail: Detail | None = None


class NoResponse(NamedTuple):
    """Why there was no answer, in words for the user."""

    reason: str
    retryable: bool
    error: str
    detail: Detail | None = None


UNSIGNABLE = NoResponse("unsigned", False, "no key is configured to sign the call with, so it was not made")


class Decision(NamedTuple):
    """What to do with the job: `waiting` until `eta`, or a final status; `dead` when its retries are spent."""

    status: Literal["waiting", "completed", "failed", "expired"]
    eta: int
    error: str
    dead: bool
    reason: str
    """Bounded: a status class or the kind of failure."""
    entry: Attempt | None
    """None when no call was made."""


def decide(
    message: ExecuteMessage,
    result: Response | NoResponse,
    now: int,
    duration_ms: int,
    rng: random.Random | None = None,
) -> Decision:
    """Judge an attempt that ended at `now` (Unix milliseconds)."""
    job = message.job
    asked: int | None = None
    if isinstance(result, Response):
        success = matches(result.status, job.success.statuses)
        error = "" if success else _status_error(result, job)
        retryable = not success and job.retry.retries(result.status) and not _retry_refused(result)
        reason = "" if success else _status_reason(result)
        if result.status in HONOURED_STATUSES:
            asked = retry_after_ms(result.headers.get("retry-after"), now)
        response = Raw(embed(result))
    else:
        success, error, retryable, reason, response = False, result.error, result.retryable, result.reason, NULL
    entry = Attempt(
        attempt=message.attempt,
        status_code=result.status if isinstance(result, Response) else None,
        success=success,
        timestamp=rfc3339(now),
        response=response,
        error=error or None,
        truncated=isinstance(result, Response) and result.truncated,
        duration_ms=duration_ms,
        reason=reason,
        generation=message.generation,
        detail=result.detail,
    )
    if success:
        return Decision("completed", 0, "", False, reason, entry)
    if has_expired(message, now):
        return Decision("expired", 0, f"expired; the last attempt: {error}", False, EXPIRED, entry)
    if not retryable:
        return Decision("failed", 0, error, False, reason, entry)
    failed = message.attempt - message.base
    if failed > job.max_retries:
        return Decision("failed", 0, f"{error} (attempt {failed} of {job.max_retries + 1})", True, reason, entry)
    delay = backoff_ms(job.retry, job.retry_delay, failed, rng) if asked is None else min(asked, job.retry.max_delay)
    eta = now + max(1, delay)
    # A retry that would be too late comes back at the time of expiry, to end there.
    return Decision("waiting", min(eta, message.expires) if message.expires else eta, error, False, reason, entry)


def has_expired(message: ExecuteMessage, now: int) -> bool:
    return 0 < message.expires <= now


def call_timeout(message: ExecuteMessage, now: int) -> int:
    """How long a call that begins now may take, in milliseconds: never beyond the job's expiry."""
    timeout = message.job.timeout
    return min(timeout, message.expires - now) if message.expires else timeout


def cut_off(message: ExecuteMessage, result: Response | NoResponse, began: int) -> bool:
    """Whether the job's expiry ended a call that had time left by its own timeout."""
    ran_out = isinstance(result, NoResponse) and result.reason == "timeout"
    return ran_out and 0 < message.expires < began + message.job.timeout


def expired(message: ExecuteMessage) -> Decision:
    """The outcome of a job that was not finished in time, and is not called (again)."""
    last = message.attempts[-1].error if message.attempts else None
    error = f"expired; the last attempt: {last}" if last else "expired before it could be called"
    return Decision("expired", 0, error, False, EXPIRED, None)


def crash_loop(message: ExecuteMessage, now: int) -> Decision:
    """The outcome of a message that the broker gave up on: whoever took it never finished."""
    error = f"{CRASH_LOOP}: the job was begun too often without an outcome"
    entry = Attempt(
        message.attempt,
        None,
        False,
        rfc3339(now),
        error=error,
        reason=CRASH_LOOP,
        generation=message.generation,
    )
    return Decision("failed", 0, error, True, CRASH_LOOP, entry)


def _status_reason(response: Response) -> str:
    if _retry_refused(response):
        return "retry-refused"
    return f"http-{response.status // 100}xx" if 400 <= response.status < 600 else "http-other"


def _retry_refused(response: Response) -> bool:
    """A target that answers `Carom-Retry: no` wants no further attempt, whatever its status."""
    return response.headers.get("carom-retry", "").strip().lower() == "no"


def _status_error(response: Response, job: Job) -> str:
    location = response.headers.get("location")
    if 300 <= response.status < 400 and location and not job.follow_redirects:
        # The rest of the URL is among the response's headers, for who may read them: an error is shown to more.
        return f"the target answered {response.status}, a redirect{_whereto(location)} that is not followed"
    return f"the target answered {response.status}"


def _whereto(location: str) -> str:
    """The origin that an absolute URL names."""
    try:
        parts = urlsplit(location)
        return f" to {parts.scheme}://{parts.netloc.rpartition('@')[2][:200]}" if parts.netloc else ""
    except ValueError:
        return ""


# What comes back


def embed(response: Response) -> bytes:
    """The body as a JSON value: itself where it is JSON, else text, else `{"base64", "contentType"}`."""
    body = response.body
    content_type = response.headers.get("content-type", "")
    if not response.truncated and (not content_type or is_json(content_type)) and _embeddable(body):
        return body
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        if response.truncated and error.reason == "unexpected end of data":
            text = body[: error.start].decode()  # the limit cut a character in two
        elif content_type.startswith("text/"):
            text = body.decode(_charset(content_type), "replace")
        else:
            return _dumps({"base64": base64.b64encode(body).decode(), "contentType": content_type})
    return _dumps(text)


def _embeddable(body: bytes) -> bool:
    # Deep nesting that one decoder still takes would break once it is wrapped in messages and documents.
    deep = body.count(b"[") + body.count(b"{") > MAX_EMBEDDED_DEPTH
    try:
        _loads(b"[" * 16 + body + b"]" * 16 if deep else body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _charset(content_type: str) -> str:
    charset = content_type.lower().partition("charset=")[2].split(";")[0].strip(" \"'")
    return charset if charset in {"iso-8859-1", "latin-1", "windows-1252", "utf-16", "us-ascii"} else "utf-8"


# What happens next


def _attempts_with(message: ExecuteMessage, entry: Attempt | None) -> tuple[Attempt, ...]:
    if entry is None:
        return message.attempts
    return carried((*message.attempts, entry))


def retry_message(message: ExecuteMessage, entry: Attempt, eta: int) -> ExecuteMessage:
    """The next attempt, due at `eta`."""
    return msgspec.structs.replace(
        message, attempt=message.attempt + 1, eta=eta, attempts=_attempts_with(message, entry)
    )


def dead_letter(message: ExecuteMessage, entry: Attempt | None) -> ExecuteMessage:
    """What the dead queue keeps: the message of the last attempt with all that was tried."""
    return msgspec.structs.replace(message, attempts=_attempts_with(message, entry))


def callback_message(
    message: ExecuteMessage,
    status: FinalStatus | Literal["waiting"],
    now: int,
    entry: Attempt | None,
    *,
    error: str = "",
    reason: str = "",
    dead: bool = False,
    event: Literal["final", "attempt"] = "final",
) -> CallbackMessage:
    """A result on its way to the callback service."""
    return CallbackMessage(
        version=VERSION,
        tenant=message.tenant,
        job_id=message.job_id,
        job=message.job,
        created_at=message.created_at,
        status=status,
        completed_at=now,
        error=error,
        reason=reason,
        dead=dead,
        generation=message.generation,
        attempts=_attempts_with(message, entry),
        traceparent=message.traceparent,
        event=event,
    )
