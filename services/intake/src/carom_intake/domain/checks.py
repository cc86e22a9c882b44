"""Checks of single fields that no type expresses: URLs, header names and values, times. Each yields its problems."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import UNSET

from carom_common.contracts.job import MAX_AHEAD_MS, Job
from carom_common.domain.clock import parse_rfc3339
from carom_common.domain.destinations import origin_of
from carom_common.domain.egress_rules import ANY_TENANT, HostList, TenantRules
from carom_common.domain.framing import FRAMING_HEADERS
from carom_common.domain.outbound import ANYTHING, Outbound, called_host

MAX_URL = 2048
USUAL_ORIGIN = 300
"""Characters: a name of DNS has 253. What is longer is not kept in mind."""
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16_384

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
NO_CALLBACK_GIVEN = "is required, or callback; null where none is wanted"
SIGNATURES_OWN = ("webhook-id", "webhook-timestamp", "webhook-signature")
_CALLBACKS_OWN = (*SIGNATURES_OWN, "content-type")


class Problem(NamedTuple):
    """What is wrong with one place of the body."""

    pointer: str
    detail: str


class Plan(NamedTuple):
    """When a job runs and ends, in Unix milliseconds; 0 for at once, and for never."""

    eta: int
    expires: int


def unknown_parameter(name: str, known: Sequence[str]) -> Problem:
    """A parameter of the query that a route does not take."""
    told = f"; known are {', '.join(known)}" if known else ""
    return Problem(f"?{name[:100]}", f"is no parameter here{told}")


def url_problems(
    pointer: str, url: str, outbound: Outbound = ANYTHING, hosts: HostList | None = None
) -> Iterator[Problem]:
    """Also what the configuration does not let be called: a scheme, a port, a host that is not on a list there is."""
    if len(url) > MAX_URL:
        yield Problem(pointer, f"is {len(url)} characters long, at most {MAX_URL} are taken")
        return
    if _NOT_IN_URL.search(url):
        yield Problem(pointer, "must be a URL without spaces, backslashes and control characters")
        return
    start = origin_of(url)
    origin = _origin(start) if len(start) <= USUAL_ORIGIN else _origin.__wrapped__(start)
    if isinstance(origin, str):
        yield Problem(pointer, origin)
    elif (why := outbound.refusal(*origin)) is not None or (
        hosts is not None and (why := hosts.refusal(called_host(url))) is not None
    ):
        yield Problem(pointer, f"cannot be called: {why}")


@lru_cache(maxsize=4096)
def _origin(origin: str) -> tuple[str, int | None] | str:
    """Scheme and port of a URL up to its path, or what is wrong with it. Few origins have many jobs."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError as error:
        return f"is no valid URL: {error}"
    if parts.scheme not in ("http", "https"):
        return "must be an absolute URL with the scheme http or https"
    if not parts.hostname:
        return "must name a host"
    if port == 0:
        return "must have a port from 1 to 65535, or none"
    if "@" in parts.netloc:
        return "must not carry a user name or password; set an Authorization header instead"
    return parts.scheme, port


def header_problems(
    at: str, headers: dict[str, str], rules: TenantRules = ANY_TENANT, hosts: HostList | None = None
) -> Iterator[Problem]:
    if len(headers) > MAX_HEADERS:
        yield Problem(at, f"has {len(headers)} headers, at most {MAX_HEADERS} are taken")
    size = sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
    if size > MAX_HEADER_BYTES:
        yield Problem(at, f"is {size} bytes on the wire, at most {MAX_HEADER_BYTES} are taken")
    seen: set[str] = set()
    for name, value in headers.items():
        pointer, lower = f"{at}/{escape(name)}", name.lower()
        if not _TOKEN.fullmatch(name):
            yield Problem(pointer, "is no valid header name (RFC 9110 token)")
        elif lower in FRAMING_HEADERS:
            yield Problem(pointer, "belongs to the connection and cannot be set by a job")
        elif lower.startswith("x-carom-"):
            yield Problem(pointer, "the names X-Carom-* are Carom's own")
        elif lower in seen:
            yield Problem(pointer, "is given twice, in different spellings")
        if not _FIELD_VALUE.fullmatch(value):
            yield Problem(pointer, "has a value with control characters")
        seen.add(lower)
    for name, why in rules.headers.refusals(headers, hosts):
        yield Problem(f"{at}/{escape(name)}", why)


def callback_problems(job: Job, outbound: Outbound = ANYTHING, rules: TenantRules = ANY_TENANT) -> Iterator[Problem]:
    """Exactly one of callbackUrl and callback, and what is wrong inside."""
    if job.callback is None:
        if isinstance(job.callback_url, str):
            yield from url_problems("/callbackUrl", job.callback_url, outbound, rules.callbacks)
        elif job.callback_url is not None:
            yield Problem("/callbackUrl", NO_CALLBACK_GIVEN)
        return
    if job.callback_url is not UNSET:
        yield Problem("/callback", "stands beside callbackUrl; give one of the two")
    yield from url_problems("/callback/url", job.callback.url, outbound, rules.callbacks)
    yield from header_problems("/callback/headers", job.callback.headers, rules, rules.callbacks)
    for name in job.callback.headers:
        if name.lower() in _CALLBACKS_OWN:
            yield Problem(f"/callback/headers/{escape(name)}", "is set by Carom in every callback")
    if len(set(job.callback.events)) < len(job.callback.events):
        yield Problem("/callback/events", "names an event twice")


def secrecy_problems(job: Job) -> Iterator[Problem]:
    """What signing and redacting do not go with."""
    if job.sign:
        for name in job.headers:
            if name.lower() in SIGNATURES_OWN:
                yield Problem(f"/headers/{escape(name)}", "is set by Carom in a call that it signs")
    if job.redact and len(set(job.redact)) < len(job.redact):
        yield Problem("/redact", "names a place twice")


def plan_of(job: Job, now: int) -> tuple[Plan, list[Problem]]:
    """When the job runs and ends if it is accepted at `now`."""
    problems: list[Problem] = []

    def moment(name: str, text: str | None) -> int:
        if text is None:
            return 0
        try:
            when = parse_rfc3339(text)
        except ValueError as error:
            problems.append(Problem(f"/{name}", str(error)))
            return 0
        if when > now + MAX_AHEAD_MS:
            problems.append(Problem(f"/{name}", "is more than 365 days ahead"))
        return when

    if job.delay is not None and job.run_at is not None:
        problems.append(Problem("/delay", "stands beside runAt; give one of the two"))
    if job.ttl is not None and job.expires_at is not None:
        problems.append(Problem("/ttl", "stands beside expiresAt; give one of the two"))
    eta = moment("runAt", job.run_at) or (now + job.delay if job.delay else 0)
    expires = moment("expiresAt", job.expires_at) or (now + job.ttl if job.ttl else 0)
    given = "expiresAt" if job.expires_at is not None else "ttl"
    if 0 < expires <= now:
        problems.append(Problem(f"/{given}", "is over already"))
    elif 0 < expires <= eta:
        problems.append(Problem(f"/{given}", "ends before the job may run"))
    return Plan(eta if eta > now else 0, expires), problems


def escape(name: str) -> str:
    """A name as one step of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
