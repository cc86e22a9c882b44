"""What a client asks for: the body of `POST /api/jobs`, and the same object inside messages and records."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

MAX_DELAY_MS = 86_400_000
MAX_TIMEOUT_MS = 300_000

RetriedStatus = Annotated[int, Meta(ge=100, le=599)] | Annotated[str, Meta(pattern="^[1-5]xx$")]
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
        return status in self.statuses or f"{status // 100}xx" in self.statuses


class Job(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """One HTTP call to make and how to make it. Delays and timeout in milliseconds."""

    target_url: str
    callback_url: str | None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = "GET"
    headers: dict[str, str] = {}
    payload: Raw = Raw(b"null")
    max_retries: Annotated[int, Meta(ge=0, le=10)] = 3
    retry_delay: Annotated[int, Meta(ge=100, le=30_000)] = 1000
    timeout: Annotated[int, Meta(ge=100, le=MAX_TIMEOUT_MS)] = 30_000
    retry: RetryPolicy = RetryPolicy()
    follow_redirects: bool = False


encode_job = msgspec.json.Encoder().encode
decode_job = msgspec.json.Decoder(Job).decode
