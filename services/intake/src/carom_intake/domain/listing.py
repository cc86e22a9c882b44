"""From a query or a body to a filter, or to everything that is wrong with it; and one job of a list as a document."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from carom_common.contracts.job import LabelKey, LabelValue, Status
from carom_common.domain.clock import parse_rfc3339, rfc3339
from carom_common.domain.filters import REASONS, WAIT_REASONS, Filter, JobHead
from carom_intake.domain.checks import Problem, escape, unknown_parameter

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
MAX_LABELS = 16
FILTERS = ("status", "label", "host", "createdAfter", "createdBefore", "reason", "waitReason")
_LISTS = frozenset({"status", "label", "waitReason"})
_IN_BODIES = tuple("labels" if name == "label" else name for name in FILTERS)

_HOST = re.compile(r"[^\s/?#@\\\x00-\x1f\x7f]{1,261}")
_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)


class BadFilter(ValueError):
    """The query or body is no filter; `problems` lists what is wrong: each once, no more of them than anybody reads."""

    def __init__(self, problems: list[Problem]) -> None:
        problems = list(dict.fromkeys(problems))[:20]
        super().__init__("; ".join(f"{problem.pointer.lstrip('?/')} {problem.detail}" for problem in problems))
        self.problems = problems


class Query(NamedTuple):
    """What a list is asked for."""

    filter: Filter
    cursor: str | None
    limit: int


def parse_query(pairs: Iterable[tuple[str, str]], extra: Sequence[str] = ()) -> Query:
    """The query of a list; raises BadFilter. `extra`: parameters that its route reads itself."""
    problems: list[Problem] = []
    given: dict[str, list[str]] = {}
    known = (*FILTERS, "limit", "cursor", *extra)
    for name, value in pairs:
        if name not in known:
            problems.append(unknown_parameter(name, known))
        elif name in given and name not in _LISTS:
            problems.append(Problem(f"?{name}", "is given twice"))
        else:
            given.setdefault(name, []).append(value)
    for name in _LISTS - {"label"}:
        if name in given:
            given[name] = [part.strip() for value in given[name] for part in value.split(",")]
    labels: dict[str, str] = {}
    for value in given.pop("label", []):
        key, equals, label = value.partition("=")
        if not equals:
            problems.append(Problem("?label", f"must be key=value, is {value[:100]!r}"))
        elif labels.setdefault(key, label) != label:
            problems.append(Problem("?label", f"names the key {key[:100]} twice, with different values"))
    limit = limit_of(given.pop("limit", [str(DEFAULT_LIMIT)])[0], problems)
    cursor = given.pop("cursor", [None])[0]
    for name in extra:
        given.pop(name, None)
    wanted = _filter("?", given, labels, problems)
    if problems:
        raise BadFilter(problems)
    return Query(wanted, cursor, limit)


def filter_of_document(document: Any, at: str = "/filter") -> Filter:
    """The filter in a body of JSON, found at the pointer `at`; raises BadFilter.

    Fields: status (one or a list), labels (an object), host, createdAfter, createdBefore, reason, waitReason (one or a
    list).
    """
    problems: list[Problem] = []
    if not isinstance(document, dict):
        raise BadFilter([Problem(at, f"must be an object with some of {', '.join(_IN_BODIES)}")])
    given: dict[str, list[str]] = {}
    for name, value in document.items():
        if name not in _IN_BODIES:
            pointer = f"{at}/{escape(name[:100])}"
            problems.append(Problem(pointer, f"unknown field; known are {', '.join(_IN_BODIES)}"))
        elif name == "labels":
            continue
        elif isinstance(value, str):
            given[name] = [value]
        elif name in _LISTS and isinstance(value, list) and all(isinstance(part, str) for part in value):
            given[name] = value
        elif value is not None:
            wanted = "a string or a list of strings" if name in _LISTS else "a string"
            problems.append(Problem(f"{at}/{name}", f"must be {wanted}"))
    labels = {} if document.get("labels") is None else document["labels"]
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        problems.append(Problem(f"{at}/labels", "must be an object of strings"))
        labels = {}
    found = _filter(f"{at}/", given, labels, problems)
    if problems:
        raise BadFilter(problems)
    return found


def _filter(at: str, given: Mapping[str, list[str]], labels: Mapping[str, str], problems: list[Problem]) -> Filter:
    """The filter of what is given; what is wrong is added to the problems, under pointers that begin with `at`."""

    def complain(name: str, detail: str) -> None:
        problems.append(Problem(f"{at}{name}", detail))

    def moment(name: str) -> int | None:
        if name not in given:
            return None
        try:
            return parse_rfc3339(given[name][0])
        except (ValueError, OverflowError) as error:
            complain(name, str(error))
            return None

    for status in given.get("status", ()):
        if status not in frozenset(Status):
            complain("status", f"knows no {status[:100]!r}; known are {', '.join(Status)}")
    label = "label" if at == "?" else "labels"
    if len(labels) > MAX_LABELS:
        complain(label, f"has {len(labels)} labels, at most {MAX_LABELS} are taken")
    for key, value in labels.items():
        if not _is(LabelKey, key):
            complain(label, f"has a key that no label can have: {key[:100]!r}")
        elif not _is(LabelValue, value):
            complain(label, f"has a value that no label can have: {value[:100]!r}")
    host = given["host"][0].lower() if "host" in given else None
    if host is not None and not _HOST.fullmatch(host):
        complain("host", "must be a host, or host:port, as in the URL of the target")
    reason = given["reason"][0] if "reason" in given else None
    if reason is not None and reason not in REASONS:
        complain("reason", f"knows no {reason[:100]!r}; known are {', '.join(REASONS)}")
    wait_reasons = given.get("waitReason", [])
    for code in wait_reasons:
        if code not in WAIT_REASONS:
            complain("waitReason", f"knows no {code[:100]!r}; known are {', '.join(WAIT_REASONS)}")
    after, before = moment("createdAfter"), moment("createdBefore")
    if after is not None and before is not None and before <= after:
        complain("createdBefore", "must be later than createdAfter")
    if problems:
        return Filter()
    return Filter(
        status=tuple(Status(status) for status in dict.fromkeys(given.get("status", ()))),
        labels=dict(labels),
        host=host,
        created_after=after,
        created_before=before,
        reason=reason,
        wait_reason=tuple(dict.fromkeys(wait_reasons)),
    )


def _is(kind: Any, value: str) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def limit_of(text: str, problems: list[Problem]) -> int:
    """How many a page has at most; what is wrong is added to the problems."""
    if _NUMBER.fullmatch(text) and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    problems.append(Problem("?limit", f"must be a number from 1 to {MAX_LIMIT}, is {text[:100]!r}"))
    return DEFAULT_LIMIT


def summary_document(job_id: str, state: Mapping[str, str], job: JobHead) -> dict[str, Any]:
    """One job of a list: its document without headers, payload and log."""

    def time(field: str) -> str | None:
        return rfc3339(ms) if (ms := int(state.get(field) or 0)) else None

    completed = state["status"] == Status.COMPLETED
    return {
        "jobId": job_id,
        "status": state["status"],
        "targetUrl": job.target_url,
        "method": job.method,
        "priority": job.priority,
        "labels": job.labels,
        "attempts": int(state.get("attempt") or 0),
        "createdAt": time("created"),
        "updatedAt": time("updated"),
        "completedAt": time("completed"),
        "nextAttemptAt": time("eta"),
        "expiresAt": time("expires"),
        "error": state.get("error", ""),
        # The record keeps the reason of the last failure; of a job that completed after it, it is none.
        "reason": (state.get("reason") or None) if not completed else None,
        "waitReason": state.get("wait_reason") or None,
        "callback": {
            "status": state.get("callback") or ("pending" if job.calls_back else "none"),
            "attempts": int(state.get("callback_attempt") or 0),
            "lastError": state.get("callback_error") or None,
            "nextAttemptAt": time("callback_eta"),
        },
    }
