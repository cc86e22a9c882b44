"""Server-Sent Events (WHATWG HTML, 9.2) about jobs: frames, and what may be asked for."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from carom_common.domain.clock import rfc3339
from carom_common.domain.happening import EVENTS, Happening, Position
from carom_intake.domain.checks import Problem, unknown_parameter

RETRY_MS = 2000
"""After how long a client should come back."""

_encode = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """What a stream is asked for: to go on after a position, and only some events (none: all)."""

    after: Position | None
    events: frozenset[str]


def asked(pairs: Iterable[tuple[str, str]], last_event_id: str | None, *, filters: bool) -> tuple[Asked, list[Problem]]:
    """From the query and the header Last-Event-ID, which wins; and everything that is wrong with them."""
    problems: list[Problem] = []
    known = ("lastEventId", "event") if filters else ("lastEventId",)
    events: set[str] = set()
    given: str | None = None
    for name, value in pairs:
        if name not in known:
            problems.append(unknown_parameter(name, known))
        elif name == "event":
            if value in EVENTS:
                events.add(value)
            else:
                problems.append(Problem("?event", f"{value[:100]!r} never happens; known are {', '.join(EVENTS)}"))
        elif given is not None:
            problems.append(Problem("?lastEventId", "is given twice"))
        else:
            given = value
    after = None
    for place, text in (("?lastEventId", given), ("Last-Event-ID", last_event_id)):
        if text:  # a client that has none yet may send it empty
            try:
                after = Position.parse(text)
            except ValueError as error:
                problems.append(Problem(place, str(error)))
    return Asked(after, frozenset(events)), problems


def frame(event: str, data: dict[str, Any], position: Position | None = None) -> bytes:
    """One event; JSON has no line breaks, so its data is one line."""
    head = f"id: {position}\n" if position is not None else ""
    return f"{head}event: {event}\ndata: {_encode(data).decode()}\n\n".encode()


def opening(position: Position) -> bytes:
    """Comes first: no event, but a client that is cut off from here on resumes at the right place."""
    return f"retry: {RETRY_MS}\nid: {position}\n\n".encode()


def heartbeat(position: Position) -> bytes:
    """A comment that keeps proxies awake; moves the place to resume at past what the stream leaves out."""
    return f": nothing new\nid: {position}\n\n".encode()


def happening_frame(happening: Happening) -> bytes:
    data = {
        "jobId": happening.job_id,
        "event": happening.what,
        "generation": happening.generation,
        "attempt": happening.attempt,
        "at": rfc3339(happening.at),
    }
    return frame(happening.what, data, happening.position)


def state_frame(job_id: str, state: dict[str, str], callback: str, position: Position) -> bytes:
    """How a job is, at the start of its stream or where an event of it is missing."""
    data = {
        "jobId": job_id,
        "event": "state",
        "status": state["status"],
        "callback": callback,
        "generation": int(state["generation"]),
        "attempt": int(state["attempt"]),
        "at": rfc3339(int(state["updated"])),
    }
    return frame("state", data, position)


def gap_frame(asked_for: Position, first: Position | None) -> bytes:
    """Some of what followed `asked_for` is not kept any more."""
    detail = "events after this id are no longer kept: look at the jobs themselves"
    return frame(
        "gap", {"event": "gap", "lastEventId": str(asked_for), "firstKept": first and str(first), "detail": detail}
    )
