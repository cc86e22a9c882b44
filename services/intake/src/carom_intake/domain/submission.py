"""From a request body to a job, or to every problem that it has, each with its JSON Pointer (RFC 6901)."""

import re
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from carom_common.contracts.job import Job, RetryPolicy, decode_job
from carom_common.domain.framing import FRAMING_HEADERS

MAX_URL = 2048
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16_384
MAX_NESTING = 200
MAX_PROBLEMS = 100

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]')
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")


class Problem(NamedTuple):
    """What is wrong with one place of the body."""

    pointer: str
    detail: str


TOO_DEEP = Problem("", f"is nested over {MAX_NESTING} levels deep")


class InvalidSubmission(ValueError):
    """The body is no valid job; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def parse_submission(body: bytes) -> Job:
    """The job in a body of JSON; raises InvalidSubmission with all problems at once."""
    try:
        body.decode()  # msgspec passes a raw payload on without looking at its encoding
        job = decode_job(body)
        _check_nesting(body)  # only what is known to be JSON: its strings end
    except msgspec.ValidationError:
        raise InvalidSubmission(_bounded(_problems_of(body))) from None
    except RecursionError:
        raise InvalidSubmission([TOO_DEEP]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSubmission([Problem("", f"the body is not valid JSON: {error}")]) from None
    problems = [
        *_url_problems("/targetUrl", job.target_url),
        *(_url_problems("/callbackUrl", job.callback_url) if job.callback_url is not None else ()),
        *_header_problems(job.headers),
    ]
    if problems:
        raise InvalidSubmission(problems)
    return job


def _bounded(problems: list[Problem]) -> list[Problem]:
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


def _problems_of(body: bytes) -> list[Problem]:
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError as error:  # broken further on than where the first problem was found
        return [Problem("", f"the body is not valid JSON: {error}")]
    except RecursionError:
        return [TOO_DEEP]
    if not isinstance(document, dict):
        return [Problem("", "the body must be a JSON object")]
    problems = list(_struct_problems(document, Job, ""))
    for name in ("targetUrl", "callbackUrl"):
        if isinstance(document.get(name), str):
            problems += _url_problems(f"/{name}", document[name])
    headers = document.get("headers")
    if isinstance(headers, dict):
        problems += _header_problems({name: value for name, value in headers.items() if isinstance(value, str)})
    return problems


def _struct_problems(document: dict[str, Any], kind: type[msgspec.Struct], at: str) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in document:
        if name not in fields:
            yield Problem(f"{at}/{_escape(name[:200])}", f"unknown field; known are {', '.join(fields)}")
    for name, field in fields.items():
        if name not in document:
            if field.required:
                yield Problem(f"{at}/{name}", "is required")
        elif field.type is RetryPolicy and isinstance(document[name], dict):
            yield from _struct_problems(document[name], RetryPolicy, f"{at}/{name}")
        elif field.type is not msgspec.Raw:
            yield from _value_problems(document[name], field.type, f"{at}/{name}")


def _value_problems(value: Any, kind: Any, at: str) -> Iterator[Problem]:
    if isinstance(value, dict) and typing.get_origin(kind) is dict:
        parts: Iterator[tuple[str, Any]] = ((_escape(name), item) for name, item in value.items())
        kind = typing.get_args(kind)[1]
    elif isinstance(value, list) and typing.get_origin(kind) is tuple:
        parts = ((str(index), item) for index, item in enumerate(value))
        kind = typing.get_args(kind)[0]
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            yield Problem(at, _explain(error, value))
        return
    for name, item in parts:
        yield from _value_problems(item, kind, f"{at}/{name}")


def _explain(error: msgspec.ValidationError, value: Any) -> str:
    text = str(error).replace("`", "")
    shown = msgspec.json.encode(value).decode()
    return f"{text[:1].lower()}{text[1:]}" + (f", got {shown}" if len(shown) <= 80 and "got" not in text else "")


def _url_problems(pointer: str, url: str) -> Iterator[Problem]:
    if len(url) > MAX_URL:
        yield Problem(pointer, f"is {len(url)} characters long, at most {MAX_URL} are taken")
        return
    if _NOT_IN_URL.search(url):
        yield Problem(pointer, "must be a URL without spaces, backslashes and control characters")
        return
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError as error:
        yield Problem(pointer, f"is no valid URL: {error}")
        return
    if parts.scheme not in ("http", "https"):
        yield Problem(pointer, "must be an absolute URL with the scheme http or https")
    elif not parts.hostname:
        yield Problem(pointer, "must name a host")
    elif not port_is_valid:
        yield Problem(pointer, "must have a port from 1 to 65535, or none")
    elif "@" in parts.netloc:
        yield Problem(pointer, "must not carry a user name or password; set an Authorization header instead")


def _header_problems(headers: dict[str, str]) -> Iterator[Problem]:
    if len(headers) > MAX_HEADERS:
        yield Problem("/headers", f"has {len(headers)} headers, at most {MAX_HEADERS} are taken")
    size = sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
    if size > MAX_HEADER_BYTES:
        yield Problem("/headers", f"is {size} bytes on the wire, at most {MAX_HEADER_BYTES} are taken")
    seen: set[str] = set()
    for name, value in headers.items():
        pointer, lower = f"/headers/{_escape(name)}", name.lower()
        if not _TOKEN.fullmatch(name):
            yield Problem(pointer, "is no valid header name (RFC 9110 token)")
        elif lower in FRAMING_HEADERS or lower == "host":
            yield Problem(pointer, "belongs to the connection and cannot be set by a job")
        elif lower.startswith("x-carom-"):
            yield Problem(pointer, "the names X-Carom-* are Carom's own")
        elif lower in seen:
            yield Problem(pointer, "is given twice, in different spellings")
        if not _FIELD_VALUE.fullmatch(value):
            yield Problem(pointer, "has a value with control characters")
        seen.add(lower)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
