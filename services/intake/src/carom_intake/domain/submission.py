"""From a request body to a job, or to every problem that it has, each with its JSON Pointer (RFC 6901)."""

import re
import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, NamedTuple

import msgspec

from carom_common.contracts.job import Job, decode_job
from carom_common.contracts.message import DEFAULT_TENANT
from carom_common.domain.egress_rules import TenantRules
from carom_common.domain.outbound import ANYTHING, Outbound
from carom_intake.domain.checks import (
    NO_CALLBACK_GIVEN,
    Plan,
    Problem,
    callback_problems,
    escape,
    header_problems,
    plan_of,
    secrecy_problems,
    url_problems,
)

MAX_NESTING = 200
MAX_PROBLEMS = 100

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]')

TOO_DEEP = Problem("", f"is nested over {MAX_NESTING} levels deep")


class InvalidSubmission(ValueError):
    """The body is no valid job; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


class Submission(NamedTuple):
    """A valid job, and when it runs and ends."""

    job: Job
    plan: Plan


def parse_submission(body: bytes, now: int, outbound: Outbound = ANYTHING, tenant: str = DEFAULT_TENANT) -> Submission:
    """The job in a body of JSON that came at `now`; raises InvalidSubmission with all problems at once.

    `outbound` says what may be called, and what this tenant's jobs may.
    """
    rules = outbound.rules.of(tenant)
    try:
        body.decode()  # msgspec passes a raw payload on without looking at its encoding
        job = decode_job(body)
        _check_nesting(body)  # only what is known to be JSON: its strings end
    except msgspec.ValidationError:
        raise InvalidSubmission(bounded(_problems_of(body, outbound, rules))) from None
    except RecursionError:
        raise InvalidSubmission([TOO_DEEP]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSubmission([Problem("", f"the body is not valid JSON: {error}")]) from None
    plan, time_problems = plan_of(job, now)
    problems = [
        *url_problems("/targetUrl", job.target_url, outbound, rules.targets),
        *header_problems("/headers", job.headers, rules, rules.targets),
        *callback_problems(job, outbound, rules),
        *secrecy_problems(job),
        *time_problems,
    ]
    if problems:
        raise InvalidSubmission(bounded(problems))
    return Submission(job, plan)


def bounded(problems: list[Problem]) -> list[Problem]:
    """At most MAX_PROBLEMS of them, and how many more there are."""
    more = len(problems) - MAX_PROBLEMS
    return [*problems[:MAX_PROBLEMS], Problem("", f"and {more} more problems")] if more > 0 else problems


def _check_nesting(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= MAX_NESTING:
        return
    depth = 0
    for part in _STRING_OR_BRACKET.finditer(body):
        if part[0] in b"[{":
            depth += 1
            if depth > MAX_NESTING:
                raise InvalidSubmission([TOO_DEEP])
        elif part[0] in b"]}":
            depth -= 1


def _problems_of(body: bytes, outbound: Outbound, rules: TenantRules) -> list[Problem]:
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError as error:  # broken further on than where the first problem was found
        return [Problem("", f"the body is not valid JSON: {error}")]
    except RecursionError:
        return [TOO_DEEP]
    if not isinstance(document, dict):
        return [Problem("", "the body must be a JSON object")]
    problems = list(struct_problems(document, Job, ""))
    for name, hosts in (("targetUrl", rules.targets), ("callbackUrl", rules.callbacks)):
        if isinstance(document.get(name), str):
            problems += url_problems(f"/{name}", document[name], outbound, hosts)
    headers = document.get("headers")
    if isinstance(headers, dict):
        texts = {name: value for name, value in headers.items() if isinstance(value, str)}
        problems += header_problems("/headers", texts, rules, rules.targets)
    if "callbackUrl" not in document and document.get("callback") is None:
        problems.append(Problem("/callbackUrl", NO_CALLBACK_GIVEN))
    return problems


def struct_problems(document: dict[str, Any], kind: type[msgspec.Struct], at: str) -> Iterator[Problem]:
    """What is wrong with a JSON object that is to be of a kind, each with its place under `at`."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in document:
        if name not in fields:
            yield Problem(f"{at}/{escape(name[:200])}", f"unknown field; known are {', '.join(fields)}")
    for name, field in fields.items():
        if name not in document:
            if field.required:
                yield Problem(f"{at}/{name}", "is required")
        elif field.type is not msgspec.Raw:
            yield from _value_problems(document[name], field.type, f"{at}/{name}")


def _value_problems(value: Any, kind: Any, at: str) -> Iterator[Problem]:
    base = _base_of(kind)
    if isinstance(value, dict) and isinstance(base, type) and issubclass(base, msgspec.Struct):
        yield from struct_problems(value, base, at)
        return
    if isinstance(value, dict) and typing.get_origin(base) is dict:
        of_key, of_value = typing.get_args(base)
        for name, item in value.items():
            yield from _value_problems(name, of_key, f"{at}/{escape(name)}")
            yield from _value_problems(item, of_value, f"{at}/{escape(name)}")
    elif isinstance(value, list) and typing.get_origin(base) is tuple:
        for index, item in enumerate(value):
            yield from _value_problems(item, typing.get_args(base)[0], f"{at}/{index}")
    try:
        msgspec.convert(value, _without_unset(kind))
    except msgspec.ValidationError as error:
        if " - at `" not in str(error):  # what is wrong further inside was told above
            yield Problem(at, _explain(error, value))


def _base_of(kind: Any) -> Any:
    """The one type behind annotations and an optional."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, UnionType):
        others = [part for part in typing.get_args(kind) if part not in (NoneType, msgspec.UnsetType)]
        return _base_of(others[0]) if len(others) == 1 else kind
    return kind


def _without_unset(kind: Any) -> Any:
    """Msgspec takes UNSET for a field only."""
    if typing.get_origin(kind) in (typing.Union, UnionType):
        return typing.Union[tuple(part for part in typing.get_args(kind) if part is not msgspec.UnsetType)]  # noqa: UP007
    return kind


def _explain(error: msgspec.ValidationError, value: Any) -> str:
    text = str(error).replace("`", "")
    shown = msgspec.json.encode(value).decode()
    return f"{text[:1].lower()}{text[1:]}" + (f", got {shown}" if len(shown) <= 80 and "got" not in text else "")
