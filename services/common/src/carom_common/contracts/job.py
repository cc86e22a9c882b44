"""What a client asks for: the body of `POST /api/jobs`, and the same object inside messages and records."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

MAX_DELAY_MS = 86_400_000
MAX_TIMEOUT_MS = 300_000
MAX_AHEAD_MS = 365 * 86_400_000
"""How far ahead a job may be scheduled, or expire."""

_END = r"$(?!\n)"
"""The end of a pattern, for Python, whose `$` alone would pass a line feed there, and for JSON Schema alike."""

RetriedStatus = Annotated[int, Meta(ge=100, le=599)] | Annotated[str, Meta(pattern=rf"^[1-5]xx{_END}")]
RETRIED_STATUSES: tuple[int | str, ...] = (408, 425, 429, "5xx")
BODILESS_METHODS = frozenset({"GET", "HEAD"})


class Status(StrEnum):
    """Where a job is. The last four are final."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL_STATUSES = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})
OPEN_STATUSES = frozenset(Status) - FINAL_STATUSES


FinalStatus = Literal["completed", "failed", "cancelled", "expired"]
CallbackEvent = Literal["completed", "failed", "cancelled", "expired", "attempt"]
FINAL_EVENTS: tuple[CallbackEvent, ...] = ("completed", "failed", "cancelled", "expired")
Priority = Literal["low", "normal", "high"]


def matches(status: int, patterns: tuple[int | str, ...]) -> bool:
    """Whether a status is among patterns such as 429 and "5xx"."""
    return status in patterns or f"{status // 100}xx" in patterns


class RetryPolicy(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """How the delay between attempts grows; `max_delay` in milliseconds."""

    strategy: Literal["exponential", "linear", "fixed"] = "exponential"
    max_delay: Annotated[int, Meta(ge=100, le=MAX_DELAY_MS)] = 3_600_000
    jitter: Literal["full", "equal", "none"] | None = None
    statuses: tuple[RetriedStatus, ...] = RETRIED_STATUSES

    @property
    def effective_jitter(self) -> str:
        return self.jitter or ("none" if self.strategy == "fixed" else "equal")

    def retries(self, status: int) -> bool:
        return matches(status, self.statuses)


class SuccessRules(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Which answers complete a job. They win over the statuses that are retried."""

    statuses: Annotated[tuple[RetriedStatus, ...], Meta(min_length=1, max_length=64)] = ("2xx",)


class CallbackRetry(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """How often a callback is tried again, in place of the configured delays; delays in milliseconds."""

    max_retries: Annotated[int, Meta(ge=0, le=50)] = 7
    retry_delay: Annotated[int, Meta(ge=100, le=MAX_DELAY_MS)] = 5000
    strategy: Literal["exponential", "linear", "fixed"] = "exponential"
    max_delay: Annotated[int, Meta(ge=100, le=MAX_DELAY_MS)] = 36_000_000
    jitter: Literal["full", "equal", "none"] | None = None

    @property
    def policy(self) -> RetryPolicy:
        return RetryPolicy(self.strategy, self.max_delay, self.jitter)


class Callback(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Where and when to call back: the long form of `callbackUrl`. `timeout` in milliseconds."""

    url: str
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: dict[str, str] = {}
    events: Annotated[tuple[CallbackEvent, ...], Meta(min_length=1, max_length=5)] = FINAL_EVENTS
    retry: CallbackRetry | None = None
    timeout: Annotated[int, Meta(ge=100, le=MAX_TIMEOUT_MS)] | None = None


LabelKey = Annotated[
    str,
    Meta(pattern=rf"^([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?{_END}"),
]
LabelValue = Annotated[str, Meta(pattern=rf"^([A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?)?{_END}")]


Pointer = Annotated[str, Meta(max_length=512, pattern=rf"^(/([^/~]|~[01])*){{0,32}}{_END}")]
"""A JSON Pointer (RFC 6901) of at most 32 steps."""
MAX_REDACTED = 32


class Job(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """One HTTP call to make and how to make it. Delays, timeout and ttl in milliseconds, times in RFC 3339.

    `callback_url` (null: none is wanted) or `callback` must be given, not both. At most one of `delay` and `run_at`,
    and one of `ttl` and `expires_at`. Label keys and values follow Kubernetes. `redact` names what of the payload is
    sent but never shown; `sign` signs the call as callbacks are signed.
    """

    target_url: str
    callback_url: str | UnsetType | None = UNSET
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = "GET"
    headers: dict[str, str] = {}
    payload: Raw = Raw(b"null")
    max_retries: Annotated[int, Meta(ge=0, le=10)] = 3
    retry_delay: Annotated[int, Meta(ge=100, le=30_000)] = 1000
    timeout: Annotated[int, Meta(ge=100, le=MAX_TIMEOUT_MS)] = 30_000
    retry: RetryPolicy = RetryPolicy()
    follow_redirects: bool = False
    callback: Callback | None = None
    delay: Annotated[int, Meta(ge=0, le=MAX_AHEAD_MS)] | None = None
    run_at: str | None = None
    ttl: Annotated[int, Meta(ge=1, le=MAX_AHEAD_MS)] | None = None
    expires_at: str | None = None
    success: SuccessRules = SuccessRules()
    labels: Annotated[dict[LabelKey, LabelValue], Meta(max_length=16)] = {}
    priority: Priority = "normal"
    redact: Annotated[tuple[Pointer, ...], Meta(max_length=MAX_REDACTED)] = ()
    sign: bool = False

    @property
    def calls_back(self) -> Callback | None:
        """Where the result goes, whichever way it was asked for."""
        if self.callback is not None:
            return self.callback
        return Callback(self.callback_url) if isinstance(self.callback_url, str) else None

    def wants(self, event: CallbackEvent) -> bool:
        """Whether an event is called back."""
        if self.callback is not None:
            return event in self.callback.events
        return event != "attempt" and isinstance(self.callback_url, str)


encode_job = msgspec.json.Encoder().encode
decode_job = msgspec.json.Decoder(Job).decode
