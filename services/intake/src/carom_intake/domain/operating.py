"""What operators ask for, out of bodies of JSON and paths; and destinations and pauses as documents."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from carom_common.contracts.job import LabelKey, LabelValue
from carom_common.domain.clock import rfc3339
from carom_common.domain.pauses import Pause, Selector
from carom_common.domain.rules import Limits, Rule, RuleBook, parse_host
from carom_intake.domain.checks import Problem
from carom_intake.domain.submission import InvalidSubmission, struct_problems

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

S = TypeVar("S", bound=msgspec.Struct)


def parse_rule(body: bytes) -> Rule:
    """The body of `PUT /api/destinations/{host}`; raises InvalidSubmission."""
    return parse_struct(body, Rule)


def parse_selector(body: bytes) -> Selector:
    """The body of a pause or its end; raises InvalidSubmission."""
    selector = parse_struct(body, Selector)
    problems = []
    if selector.host is not None and selector.label is not None:
        problems.append(Problem("/label", "stands beside host; give one of the two, or none for all jobs"))
    if selector.host is not None:
        try:
            parse_host(selector.host)
        except ValueError as error:
            problems.append(Problem("/host", f"{error}, is {selector.host[:100]!r}"))
    if selector.label is not None:
        for name, kind in (("key", LabelKey), ("value", LabelValue)):
            text = getattr(selector.label, name)
            try:
                msgspec.convert(text, kind)
            except msgspec.ValidationError:
                problems.append(Problem(f"/label/{name}", f"is no {name} that a label can have: {text[:100]!r}"))
    if problems:
        raise InvalidSubmission(problems)
    return selector


def parse_struct(body: bytes, kind: type[S]) -> S:
    """An object of a kind in a body of JSON; raises InvalidSubmission with all that is wrong with it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidSubmission(_problems_of(body, kind) or [Problem("", str(error))]) from None
    except RecursionError:
        raise InvalidSubmission([Problem("", "is nested too deep")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSubmission([Problem("", f"the body is not valid JSON: {error}")]) from None


def _problems_of(body: bytes, kind: type[msgspec.Struct]) -> list[Problem]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [Problem("", f"the body is not valid JSON: {error}")]
    if not isinstance(document, dict):
        return [Problem("", "the body must be a JSON object")]
    return list(struct_problems(document, kind, ""))[:100]


def parse_page(given: list[tuple[str, str]]) -> tuple[int, str]:
    """`limit` and `cursor` of a list of destinations; raises InvalidSubmission."""
    problems, limit, cursor = [], DEFAULT_LIMIT, ""
    for name, value in given:
        if name == "cursor":
            cursor = value
        elif name != "limit":
            problems.append(Problem(f"?{name[:100]}", "unknown parameter; known are limit, cursor"))
        elif value.isascii() and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= MAX_LIMIT:
            limit = int(value)
        else:
            problems.append(Problem("?limit", f"must be 1 to {MAX_LIMIT}, is {value[:20]!r}"))
    if problems:
        raise InvalidSubmission(problems[:100])
    return limit, cursor


def pause_document(pause: Pause) -> dict[str, Any]:
    selector = pause.selector
    label = None if selector.label is None else {"key": selector.label.key, "value": selector.label.value}
    return {"host": selector.host, "label": label, "since": rfc3339(pause.since)}


def limits_document(host: str, book: RuleBook) -> dict[str, Any]:
    """What holds for a destination, and who said so."""
    limits: Limits = book.of(host)
    rate = {"perSecond": limits.rate, "burst": limits.burst} if limits.rate else None
    return {
        "host": host,
        "source": "api" if host in book.set else "configuration" if host in book.configured else "default",
        "concurrency": limits.concurrency,
        "rate": rate,
        "circuit": {"failures": limits.failures, "openSeconds": limits.open_seconds},
    }


def live_document(limits: Mapping[str, Any], in_use: int, waiting: int, opened_ago: int | None) -> dict[str, Any]:
    """The limits and what is known of the destination now."""
    circuit = dict(limits["circuit"])
    if opened_ago is None:
        circuit["state"] = "closed"
    else:
        circuit["state"] = "open" if opened_ago < circuit["openSeconds"] * 1000 else "half-open"
    return {**limits, "circuit": circuit, "inUse": in_use, "waiting": waiting}
