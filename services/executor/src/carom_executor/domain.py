"""What an attempt's outcome means: success, a retry at a certain time, or the end. Pure."""

import base64
import random
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw

from carom_common.contracts.job import BODILESS_METHODS, Job
from carom_common.contracts.message import NULL, VERSION, Attempt, CallbackMessage, ExecuteMessage, shortened
from carom_common.domain.backoff import HONOURED_STATUSES, backoff_ms, retry_after_ms
from carom_common.domain.clock import rfc3339
from carom_common.version import USER_AGENT

MAX_EMBEDDED_DEPTH = 200
CRASH_LOOP = "crash-loop"
_dumps = msgspec.json.Encoder().encode
_loads = msgspec.json.Decoder().decode
_loads_string = msgspec.json.Decoder(str).decode


class Response(NamedTuple):
    """What a target answered. `body` is cut off at the limit when `truncated`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool


class NoResponse(NamedTuple):
    """Why there was no answer, in words for the user."""

    reason: str
    retryable: bool
    error: str


class Decision(NamedTuple):
    """What to do with the job: `waiting` until `eta`, or a final status; `dead` when its retries are spent."""

    status: str
    eta: int
    error: str
    dead: bool
    entry: Attempt
    reason: str
    """Bounded: a status class or the kind of failure."""


def decide(
    message: ExecuteMessage, result: Response | NoResponse, now: int, duration_ms: int, rng: random.Random | None = None
) -> Decision:
    """Judge an attempt that ended at `now` (Unix milliseconds)."""
    job = message.job
    asked: int | None = None
    if isinstance(result, Response):
        success = 200 <= result.status < 300
        error = "" if success else _status_error(result, job)
        retryable = not success and job.retry.retries(result.status)
        reason = f"{result.status // 100}xx" if 400 <= result.status < 600 else "other"
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
    )
    if success:
        return Decision("completed", 0, "", False, entry, reason)
    if not retryable:
        return Decision("failed", 0, error, False, entry, reason)
    if message.attempt > job.max_retries:
        return Decision(
            "failed", 0, f"{error} (attempt {message.attempt} of {job.max_retries + 1})", True, entry, reason
        )
    if asked is None:
        delay = backoff_ms(job.retry, job.retry_delay, message.attempt, rng)
    else:
        delay = min(asked, job.retry.max_delay)
    return Decision("waiting", now + max(1, delay), error, False, entry, reason)


def crash_loop(message: ExecuteMessage, now: int) -> Decision:
    """The outcome of a message that the broker gave up on: whoever took it never finished."""
    error = f"{CRASH_LOOP}: the job was begun too often without an outcome"
    entry = Attempt(message.attempt, None, False, rfc3339(now), error=error)
    return Decision("failed", 0, error, True, entry, CRASH_LOOP)


def _status_error(response: Response, job: Job) -> str:
    location = response.headers.get("location")
    if 300 <= response.status < 400 and location and not job.follow_redirects:
        return f"the target answered {response.status}, a redirect to {location[:500]} that is not followed"
    return f"the target answered {response.status}"


# What goes out


def outgoing(message: ExecuteMessage) -> tuple[dict[str, str], bytes | None]:
    """Headers and body of the call: the job's own, and Carom's where the job does not set them."""
    job = message.job
    given = {name.lower() for name in job.headers}
    headers = dict(job.headers)
    body: bytes | None = None
    payload = bytes(job.payload)
    if job.method not in BODILESS_METHODS and payload != b"null":
        body = payload
        if "content-type" not in given:
            headers["Content-Type"] = "application/json"
        elif payload.startswith(b'"') and not _is_json(_header(job.headers, "content-type")):
            body = _loads_string(payload).encode()
    if "user-agent" not in given:
        headers["User-Agent"] = USER_AGENT
    if "idempotency-key" not in given:
        headers["Idempotency-Key"] = message.job_id
    headers["X-Carom-Job-Id"] = message.job_id
    headers["X-Carom-Attempt"] = str(message.attempt)
    return headers, body


def _header(headers: Mapping[str, str], wanted: str) -> str:
    return next((value for name, value in headers.items() if name.lower() == wanted), "")


def _is_json(content_type: str) -> bool:
    kind = content_type.split(";", 1)[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


# What comes back


def embed(response: Response) -> bytes:
    """The body as a JSON value: itself where it is JSON, else text, else `{"base64", "contentType"}`."""
    body = response.body
    content_type = response.headers.get("content-type", "")
    if not response.truncated and (not content_type or _is_json(content_type)) and _embeddable(body):
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


def _attempts_with(message: ExecuteMessage, entry: Attempt) -> tuple[Attempt, ...]:
    return (*map(shortened, message.attempts), entry)


def retry_message(message: ExecuteMessage, entry: Attempt, eta: int) -> ExecuteMessage:
    """The next attempt, due at `eta`."""
    return msgspec.structs.replace(
        message, attempt=message.attempt + 1, eta=eta, attempts=_attempts_with(message, entry)
    )


def dead_letter(message: ExecuteMessage, entry: Attempt) -> ExecuteMessage:
    """What the dead queue keeps: the message of the last attempt with all that was tried."""
    return msgspec.structs.replace(message, attempts=_attempts_with(message, entry))


def callback_message(
    message: ExecuteMessage, status: str, error: str, dead: bool, completed_at: int, entry: Attempt
) -> CallbackMessage:
    """The final result on its way to the callback service."""
    return CallbackMessage(
        version=VERSION,
        tenant=message.tenant,
        job_id=message.job_id,
        job=message.job,
        created_at=message.created_at,
        status=status,  # type: ignore[arg-type]
        completed_at=completed_at,
        error=error,
        dead=dead,
        generation=message.generation,
        attempts=_attempts_with(message, entry),
        traceparent=message.traceparent,
    )
