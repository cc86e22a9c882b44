"""What an explanation consists of, and how its parts are put into words. Pure."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from msgspec import Struct

from carom_common.domain.clock import rfc3339
from carom_common.domain.destinations import destination_of
from carom_common.domain.pauses import Pause, Pauses, Selector
from carom_common.domain.rules import Limits
from carom_intake.domain.documents import Record

Code = Literal[
    "act-owed",
    "scheduled",
    "queued",
    "held-paused",
    "held-concurrency",
    "held-rate",
    "held-circuit-open",
    "held-unproven-host",
    "running",
    "lease-over",
    "waiting-for-retry",
    "completed",
    "failed",
    "dead-letter",
    "cancelled",
    "expired",
    "callback-owed",
    "callback-queued",
    "callback-running",
    "callback-waiting-for-retry",
    "callback-delivered",
    "callback-failed",
    "callback-dead-letter",
    "callback-not-wanted",
]
CODES: tuple[Code, ...] = get_args(Code)
LONGEST_TEXT = 300
"""What is quoted of an error: the document has the whole of it."""

OWED_WHY = "That is so for a moment after each act; where it lasts, its request ended too early, or RabbitMQ is away."
OWED_NEXT = "Its request publishes the message, or else a replica of intake, about 10 s later, once RabbitMQ takes it."


class Now(NamedTuple):
    """What is known of one destination now: its limits, ms since its circuit opened (None: closed), calls under way.

    `in_use` counts the calls of all tenants, and is None for who may not see those.
    """

    limits: Limits
    opened_ago: int | None = None
    in_use: int | None = None


class Around(NamedTuple):
    """What holds now beside the record. `now` in Unix milliseconds, by the clock that leases run by.

    `pauses`: those of the job's tenant. `ahead`: open jobs of the tenant that were accepted before it. `running`: calls
    of the tenant under way, in all executors, a few seconds ago.
    """

    now: int
    pauses: Sequence[Pause]
    target: Now
    callback: Now
    ahead: int
    running: int


class Step(Struct, frozen=True):
    """One thing that is to be done for a job. Sentences, and a code for programs; `do` is null where nothing helps."""

    code: Code
    where: str
    why: str
    next: str
    since: str | None = None
    do: str | None = None


class Explanation(Struct, frozen=True, rename="camel"):
    """The call of a job, and its callback once there is something to call back; `as_of` is when that held."""

    code: Code
    where: str
    why: str
    next: str
    since: str | None
    do: str | None
    as_of: str
    callback: Step | None


def explanation(step: Step, callback: Step | None, now: int) -> Explanation:
    return Explanation(step.code, step.where, step.why, step.next, step.since, step.do, rfc3339(now), callback)


def holding(record: Record, tenant: str, pauses: Sequence[Pause]) -> list[Pause]:
    """The pauses that hold a job of this tenant, oldest first."""
    host = destination_of(record.job.target_url)
    return [pause for pause in Pauses(pauses).all if Pauses([pause]).hold(tenant, host, record.job.labels)]


def pause_text(pause: Pause) -> str:
    return f"the pause of {_selected(pause.selector)} (since {rfc3339(pause.since)})"


def sentence(text: str) -> str:
    """With a capital letter, and all others as they are."""
    return text[:1].upper() + text[1:]


def resume_text(pause: Pause) -> str:
    """The request that ends a pause."""
    selector = pause.selector
    body = "{}"
    if selector.host is not None:
        body = f'{{"host": "{selector.host}"}}'
    elif selector.label is not None:
        body = f'{{"label": {{"key": "{selector.label.key}", "value": "{selector.label.value}"}}}}'
    return f"POST /api/resume with {body}"


def _selected(selector: Selector) -> str:
    if selector.host is not None:
        return f"jobs for {selector.host}"
    if selector.label is not None:
        return f"jobs with the label {selector.label.key}={selector.label.value}"
    return "all jobs"


def quoted(error: str) -> str:
    return error if len(error) <= LONGEST_TEXT else error[:LONGEST_TEXT] + "..."


def seconds(ms: float) -> str:
    """`0.4 s`, `17 s`, `12 min`, `3.5 h`, `2 days`."""
    if ms < 10_000:
        return f"{max(0, ms) / 1000:.1f} s"
    if ms < 120_000:
        return f"{ms / 1000:.0f} s"
    if ms < 2 * 3_600_000:
        return f"{ms / 60_000:.0f} min"
    return f"{ms / 3_600_000:.1f} h" if ms < 48 * 3_600_000 else f"{ms / 86_400_000:.0f} days"


def circuit_text(host: str, place: Now, now: int) -> tuple[str, str] | None:
    """Why an open circuit holds calls, and when that ends; None where it is closed."""
    if place.opened_ago is None:
        return None
    opened = now - place.opened_ago
    again = opened + int(place.limits.open_seconds * 1000)
    why = f"The circuit of {host} has been open since {rfc3339(opened)}: calls in a row found nobody there."
    if again > now:
        return why, f"From {rfc3339(again)} on one call tries whether somebody is there; if so, the rest follows."
    return why, f"Since {rfc3339(again)} one call may try whether somebody is there: the next that looks makes it."
