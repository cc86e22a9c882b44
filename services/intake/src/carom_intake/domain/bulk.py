"""What a bulk act is asked for, and how it shows. Pure."""

from typing import Any, NamedTuple

import msgspec

from carom_common.contracts.job import OPEN_STATUSES
from carom_common.domain.clock import rfc3339
from carom_common.domain.filters import DeadKind, Filter
from carom_intake.domain.checks import Problem
from carom_intake.domain.listing import BadFilter, filter_of_document

DEFAULT_RATE, MAX_RATE = 100, 1000
_OPEN = tuple(sorted(OPEN_STATUSES))
_KINDS = ("execute", "callback")


class BulkAsked(NamedTuple):
    """The body of a bulk act; `rate` in jobs a second."""

    filter: Filter
    kind: DeadKind | None
    rate: int
    dry_run: bool


def parse_bulk(body: bytes, act: str) -> BulkAsked:
    """What a body asks for; raises BadFilter with everything that is wrong with it.

    Fields: those of a filter, at least one of them, with `dryRun` and `rate`, and for a redrive `kind`.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFilter([Problem("", f"the body is not valid JSON: {error}")]) from None
    if not isinstance(document, dict):
        raise BadFilter([Problem("", "the body must be a JSON object")])
    problems: list[Problem] = []
    dry_run, rate = document.pop("dryRun", False), document.pop("rate", DEFAULT_RATE)
    if not isinstance(dry_run, bool):
        problems.append(Problem("/dryRun", "must be true or false"))
    if not isinstance(rate, int) or isinstance(rate, bool) or not 1 <= rate <= MAX_RATE:
        problems.append(Problem("/rate", f"must be a whole number of jobs a second, from 1 to {MAX_RATE}"))
    kind = None
    if act == "redrive":
        kind = document.pop("kind", "execute")
        if kind not in _KINDS:
            problems.append(Problem("/kind", f"must be one of {', '.join(_KINDS)}"))
    wanted = Filter()
    try:
        wanted = filter_of_document(document, "")
        if wanted.empty:
            problems.append(Problem("", "names no job: give a filter; createdBefore with the time of now means all"))
    except BadFilter as error:
        problems += error.problems
    if act == "cancel":
        statuses = tuple(status for status in wanted.status or _OPEN if status in _OPEN)
        if not statuses:
            problems.append(Problem("/status", f"names final jobs only; those to cancel are {', '.join(_OPEN)}"))
        wanted = msgspec.structs.replace(wanted, status=statuses)
    if problems:
        raise BadFilter(problems)
    return BulkAsked(msgspec.structs.replace(wanted, kind=kind), kind, rate, dry_run)


def filter_document(wanted: Filter) -> dict[str, Any]:
    """A filter as it was given."""
    fields = {
        "status": list(wanted.status),
        "labels": wanted.labels,
        "host": wanted.host,
        "createdAfter": rfc3339(wanted.created_after) if wanted.created_after is not None else None,
        "createdBefore": rfc3339(wanted.created_before) if wanted.created_before is not None else None,
        "reason": wanted.reason,
        "waitReason": list(wanted.wait_reason),
    }
    return {name: value for name, value in fields.items() if value}
