"""What a list of jobs is asked for, which index answers it best, and whether a record really fits."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Struct

from carom_common.contracts.job import OPEN_STATUSES, Priority, Status
from carom_common.domain.destinations import destination_of

DeadKind = Literal["execute", "callback"]

REASONS = (
    "http-4xx",
    "http-5xx",
    "http-other",
    "retry-refused",
    "timeout",
    "connect",
    "proxy",
    "dns",
    "tls",
    "protocol",
    "refused",
    "too-many-redirects",
    "invalid-url",
    "unsigned",
    "crash-loop",
    "expired",
    "cancelled",
)
"""The codes of what went wrong with a job."""

WaitReason = Literal["paused", "concurrency", "rate", "circuit-open", "unproven-host"]
"""Why a job that could run is held."""
WAIT_REASONS: tuple[WaitReason, ...] = get_args(WaitReason)

_FINAL_INDEXED = frozenset({Status.FAILED, Status.CANCELLED, Status.EXPIRED})


class Filter(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Which jobs are meant: those that fit every field given. An empty filter means every job.

    `status`: one of them. `labels`: all of them. `host`: a destination, see `destination_of`. Created from
    `created_after` on and before `created_before`, in Unix milliseconds. `reason`: final without success, by the code
    of the error. `wait_reason`: held now, for one of these. `kind`: in this dead-letter queue.
    """

    status: tuple[Status, ...] = ()
    labels: dict[str, str] = {}
    host: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    reason: str | None = None
    wait_reason: tuple[str, ...] = ()
    kind: DeadKind | None = None

    @property
    def empty(self) -> bool:
        return self == EMPTY

    def fingerprint(self, tenant: str) -> str:
        """Names what is asked for: a cursor goes on with the same question only."""
        parts = msgspec.structs.replace(
            self, status=tuple(sorted(set(self.status))), wait_reason=tuple(sorted(set(self.wait_reason)))
        )
        asked = msgspec.json.encode((tenant, parts), order="sorted")
        return hashlib.sha256(asked).hexdigest()[:16]


EMPTY = Filter()


class JobHead(Struct, frozen=True, rename="camel"):
    """What a list shows of the job itself: no payload, no headers."""

    target_url: str
    method: str = "GET"
    labels: dict[str, str] = {}
    priority: Priority = "normal"
    callback_url: str | None = None
    callback: dict[str, Any] | None = None  # never Raw | None: msgspec takes only null for that

    @property
    def calls_back(self) -> bool:
        return self.callback_url is not None or self.callback is not None


decode_head = msgspec.json.Decoder(JobHead).decode


class Walk(NamedTuple):
    """Indexes that together hold every job that a filter may mean."""

    names: tuple[str, ...]


def walks(wanted: Filter) -> list[Walk]:
    """Every way to answer a filter; the one with the fewest entries is the best."""
    found = [Walk(("all",))]
    if wanted.kind is not None:
        found.append(Walk((f"dead:{wanted.kind}",)))
    if wanted.host is not None:
        found.append(Walk((f"host:{wanted.host}",)))
    found += [Walk((f"label:{key}={value}",)) for key, value in wanted.labels.items()]
    if wanted.reason is not None:
        found.append(Walk((f"reason:{wanted.reason}",)))
    if wanted.wait_reason:
        found.append(Walk(("held",)))
    if by_status := _walk_of_statuses(frozenset(wanted.status)):
        found.append(by_status)
    return found


def _walk_of_statuses(statuses: frozenset[Status]) -> Walk | None:
    """The indexes of some statuses, where they have any.

    Never `open` beside final ones: a job that changes sides between two reads would be in neither.
    """
    if not statuses:
        return None
    if statuses <= OPEN_STATUSES:
        return Walk(("open",))
    if statuses <= _FINAL_INDEXED:
        return Walk(tuple(f"status:{status}" for status in sorted(statuses)))
    return None


STATE_FIELDS = (
    "status",
    "generation",
    "attempt",
    "created",
    "updated",
    "completed",
    "eta",
    "error",
    "reason",
    "dead",
    "wait_reason",
    "tenant",
    "expires",
    "callback",
    "callback_attempt",
    "callback_error",
    "callback_eta",
    "callback_dead",
)
"""What a list reads of a record's state."""


def state_fits(wanted: Filter, state: Mapping[str, str]) -> bool:
    """Whether a record's state is what a filter asks for; `job_fits` says the rest."""
    status = state["status"]
    created = int(state["created"])
    if wanted.status and status not in wanted.status:
        return False
    if wanted.created_after is not None and created < wanted.created_after:
        return False
    if wanted.created_before is not None and created >= wanted.created_before:
        return False
    if wanted.reason is not None and (status not in _FINAL_INDEXED or state.get("reason") != wanted.reason):
        return False
    if wanted.wait_reason and (status not in OPEN_STATUSES or state.get("wait_reason") not in wanted.wait_reason):
        return False
    return wanted.kind is None or in_dead_letters(wanted.kind, state)


def asks_for_job(wanted: Filter) -> bool:
    """Whether the state alone cannot tell that a record fits."""
    return wanted.host is not None or bool(wanted.labels)


def job_fits(wanted: Filter, job: JobHead) -> bool:
    if wanted.host is not None and destination_of(job.target_url) != wanted.host:
        return False
    return all(job.labels.get(key) == value for key, value in wanted.labels.items())


def index_fits(name: str, state: Mapping[str, str]) -> bool:
    """Whether a record belongs into an index, as far as its state tells; every record does into the lasting ones."""
    kind, _, value = name.partition(":")
    status = state["status"]
    match kind:
        case "open":
            return status in OPEN_STATUSES
        case "held":
            return status in OPEN_STATUSES and bool(state.get("wait_reason"))
        case "status":
            return status == value
        case "reason":
            return status in _FINAL_INDEXED and state.get("reason") == value
        case "dead":
            return in_dead_letters(value, state)
        case _:
            return True


def in_dead_letters(kind: str, state: Mapping[str, str]) -> bool:
    """Whether a job is in the dead-letter queue of a kind."""
    if kind == "execute":
        return state["status"] in _FINAL_INDEXED and state.get("dead") == "1"
    return state.get("callback") == "failed" and state.get("callback_dead") == "1"
