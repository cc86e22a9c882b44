"""Attempts as they are shown, and how they are asked for."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from carom_common.contracts.job import Job
from carom_common.contracts.message import Attempt, Detail, Timing
from carom_common.domain.clock import parse_rfc3339, rfc3339
from carom_common.domain.cursor import BadCursor, Position, decode_cursor, encode_cursor
from carom_common.domain.outgoing import outgoing_headers
from carom_common.domain.redaction import redacted
from carom_intake.domain.checks import Problem, unknown_parameter
from carom_intake.domain.listing import DEFAULT_LIMIT, BadFilter, limit_of

_KNOWN = ("limit", "cursor")
_KIND = "attempts"


class Range(NamedTuple):
    """Up to `limit` attempts after the `first` ones."""

    first: int
    limit: int


def parse_range(job_id: str, pairs: Iterable[tuple[str, str]]) -> Range:
    """Which attempts a query asks for; raises BadFilter with everything that is wrong with it."""
    problems: list[Problem] = []
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in _KNOWN:
            problems.append(unknown_parameter(name, _KNOWN))
        elif name in given:
            problems.append(Problem(f"?{name}", "is given twice"))
        else:
            given[name] = value
    limit, first = limit_of(given.get("limit", str(DEFAULT_LIMIT)), problems), 0
    if "cursor" in given:
        try:
            first, asked_of = decode_cursor(given["cursor"], _KIND)
            if asked_of != job_id:
                problems.append(Problem("?cursor", "belongs to another job: begin anew without a cursor"))
        except BadCursor as error:
            problems.append(Problem("?cursor", str(error)))
    if problems:
        raise BadFilter(problems)
    return Range(first, limit)


def next_cursor(job_id: str, asked: Range, found: int, settled: int) -> str | None:
    """Where the attempts go on; None once all are shown that there are."""
    after = asked.first + found
    return encode_cursor(Position(after, job_id), _KIND) if found == asked.limit and after < settled else None


def attempt_document(job_id: str, job: Job, entry: Attempt, *, payloads: bool) -> dict[str, Any]:
    """One attempt. Without `payloads` the bodies and the values of headers are null; secrets always are redacted.

    What only the record knew (timing, address, response headers) is null where it was made anew from a message.
    """
    detail = entry.detail
    response = None
    if entry.status_code is not None:
        response = {
            "headers": _headers(detail.response_headers, payloads=payloads) if detail is not None else None,
            "body": entry.response if payloads else None,
            "truncated": entry.truncated,
        }
    return {
        "attempt": entry.attempt,
        "generation": entry.generation,
        "success": entry.success,
        "statusCode": entry.status_code,
        "startedAt": rfc3339(parse_rfc3339(entry.timestamp) - entry.duration_ms),
        "endedAt": entry.timestamp,
        "timing": _timing(detail),
        "remoteAddress": detail.remote_address if detail is not None else None,
        "request": {
            "method": job.method,
            "url": job.target_url,
            "headers": _headers(outgoing_headers(job, job_id, entry.attempt), payloads=payloads),
        },
        "response": response,
        "error": entry.error,
        "reason": entry.reason or None,
    }


def _timing(detail: Detail | None) -> dict[str, float | None] | None:
    if detail is None:
        return None
    timing: Timing = detail.timing
    return {
        "waitMs": timing.wait,
        "connectMs": timing.connect,
        "tlsMs": timing.tls,
        "firstByteMs": timing.first_byte,
        "totalMs": timing.total,
    }


def _headers(headers: Mapping[str, str], *, payloads: bool) -> dict[str, str] | dict[str, None]:
    return redacted(headers) if payloads else dict.fromkeys(headers)
