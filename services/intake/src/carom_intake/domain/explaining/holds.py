"""What is to be said of a job that could run and is held. Pure."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from carom_common.domain.clock import rfc3339
from carom_common.domain.pacing import LONGEST_SECONDS, LONGEST_UNPROVEN_SECONDS
from carom_common.topology import HELD_EXECUTE_QUEUE
from carom_intake.domain.explaining.case import Case, due_since, queue_of
from carom_intake.domain.explaining.parts import Code, Step, circuit_text, pause_text, resume_text, seconds, sentence

LOOK_MS = 3000
"""Executors look once a second, and may take a little longer: a pause that is younger may be news to one of them."""


def covered(case: Case) -> Step:
    """A pause covers it, and no executor has said so yet: with everything paused, none even takes it."""
    pause, now = case.pauses[0], case.around.now
    why = f"{sentence(pause_text(pause))} covers it."
    if now - pause.since < LOOK_MS:
        why += f" It was set {seconds(now - pause.since)} ago: until all executors have looked, one may still begin it."
    return Step(
        "held-paused",
        f"It is due, and in {queue_of(case)}, or at an executor.",
        why,
        f"It begins within about 30 s of the end of the pause.{_more_pauses(case)}{case.ends}",
        rfc3339(due_since(case)),
        f"{resume_text(pause)} ends the pause.",
    )


def held(case: Case, reason: str) -> Step:
    """An executor looked at it, and put it back."""
    make = _HELD.get(reason)
    hindrance = make(case) if make is not None else _Hindrance(f"An executor held it back: {reason}.", "")
    longest = LONGEST_UNPROVEN_SECONDS if reason == "unproven-host" else LONGEST_SECONDS
    code = f"held-{reason}" if make is not None else "queued"
    pauses = ""
    if case.pauses and reason != "paused":
        pauses = f" By then {pause_text(case.pauses[0])} holds it, if it is still in force."
    return Step(
        cast(Code, code),
        f"An executor took it, and held it back: in RabbitMQ, in a delay queue or in {HELD_EXECUTE_QUEUE}.",
        hindrance.why,
        f"{hindrance.next} It looks again every {longest:.0f} s at the latest, and burns no attempt by that."
        f"{pauses}{case.ends}",
        rfc3339(due_since(case)),
        hindrance.do,
    )


class _Hindrance(NamedTuple):
    why: str
    next: str
    do: str | None = None


def _by_pause(case: Case) -> _Hindrance:
    if not case.pauses:
        return _Hindrance("It was held for a pause that is no longer in force.", "It begins when it looks again.")
    pause = case.pauses[0]
    more = _more_pauses(case).strip()
    why = f"{sentence(pause_text(pause))} holds it."
    return _Hindrance(
        f"{why} {more}".strip(), "It begins after the end of the pause.", f"{resume_text(pause)} ends it."
    )


def _by_concurrency(case: Case) -> _Hindrance:
    place = case.around.target
    limit = place.limits.concurrency
    used = f" {place.in_use} are in use or promised now." if place.in_use is not None else ""
    return _Hindrance(
        f"When it last looked, no call to {case.host} was free: all executors together make at most {limit} at once."
        f"{used}",
        f"It has its turn when calls to {case.host} end.",
        f'PUT /api/destinations/{case.host} with a larger "concurrency", if it can take more calls at once.',
    )


def _by_rate(case: Case) -> _Hindrance:
    limits = case.around.target.limits
    if not limits.rate:
        return _Hindrance(
            f"When it last looked, the rate of {case.host} was used up; it has none now.",
            "It begins when it looks again.",
        )
    return _Hindrance(
        f"When it last looked, the rate of {case.host} was used up: {limits.rate:g} calls a second, at most "
        f"{limits.burst} at once.",
        "It has its turn at that rate.",
        f'PUT /api/destinations/{case.host} with a larger "rate", if it can take more calls.',
    )


def _by_circuit(case: Case) -> _Hindrance:
    circuit = circuit_text(case.host, case.around.target, case.around.now)
    if circuit is None:
        return _Hindrance(
            f"When it last looked, the circuit of {case.host} was open; it is closed now.",
            "It begins when it looks again.",
        )
    return _Hindrance(*circuit, f"See that {case.host} answers; nothing is to be done here.")


def _by_bulkhead(case: Case) -> _Hindrance:
    return _Hindrance(
        f"When it last looked, nobody had heard from {case.host} for an hour, or it failed lately: such hosts share a "
        "part of an executor's slots, where calls begin one after the other: that was full, or this one's turn had not "
        "come.",
        "It begins when it is its turn.",
        "See whether many jobs are for hosts that do not answer; more executors have more such slots.",
    )


_HELD: Mapping[str, Callable[[Case], _Hindrance]] = {
    "paused": _by_pause,
    "concurrency": _by_concurrency,
    "rate": _by_rate,
    "circuit-open": _by_circuit,
    "unproven-host": _by_bulkhead,
}


def _more_pauses(case: Case) -> str:
    rest = len(case.pauses) - 1
    return f" {rest} more pause{'s' if rest > 1 else ''} must end, too." if rest > 0 else ""
