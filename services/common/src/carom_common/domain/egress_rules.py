"""Which hosts the jobs of a tenant may call, and with which headers: what `CAROM_EGRESS_RULES` says. Pure.

Hosts on a list are not opened by it: the address policy is asked all the same. The lists hold at acceptance, which
names the field, and again before each call and each redirect, which is the guarantee.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from carom_common.domain.address_policy import HostRules

EVERYBODY: Final = "*"
REMEMBERED_HOSTS = 1024
"""Of each list: the same few hosts are asked about for every job."""
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_HEADER_PATTERN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HOST_VALUE = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")

Names = Annotated[tuple[Annotated[str, Meta(max_length=260)], ...], Meta(max_length=1000)]


class HeaderSection(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Names of headers, without regard to case; `X-Forwarded-*` is all that begin so. Blocked wins over allowed."""

    allow: Names | None = None
    block: Names = ()
    host: bool | None = None


class Section(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is said about one tenant, or about `*`. Lists of hosts as in `CAROM_EGRESS_ALLOW`.

    `trace_context`: whether who is called gets a `traceparent`, where spans are made.
    """

    targets: Names | None = None
    callbacks: Names | None = None
    headers: HeaderSection = HeaderSection()
    trace_context: bool | None = None


class HostList:
    """Hosts that may be called. Names compare without case and trailing dots, addresses as they stand in a URL."""

    __slots__ = ("_rules", "_what", "refusal")

    def __init__(self, entries: Names, what: str) -> None:
        self._rules = HostRules.parse(entries)
        self._what = what
        self.refusal = lru_cache(maxsize=REMEMBERED_HOSTS)(self._refusal)
        """Why the host of a URL (RFC 3986, without brackets) must not be called; None if it may be."""

    def _refusal(self, host: str) -> str | None:
        host = host.lower().rstrip(".")
        if self._rules.has_host(host):
            return None
        try:
            if self._rules.has_address(ip_address(host)):
                return None
        except ValueError:
            pass
        return f"{host[:253]} is not among the hosts that {self._what} may have"


class _Patterns:
    """Names of headers in lower case, and beginnings of names."""

    __slots__ = ("_begin", "_names")

    def __init__(self, patterns: Names) -> None:
        for pattern in patterns:
            if not _HEADER_PATTERN.fullmatch(pattern) or "*" in pattern[:-1]:
                raise ValueError(f"{pattern!r} is not the name of a header, nor the beginning of one and *")
        self._names = frozenset(pattern.lower() for pattern in patterns if not pattern.endswith("*"))
        self._begin = tuple(pattern[:-1].lower() for pattern in patterns if pattern.endswith("*"))

    def match(self, lower: str) -> bool:
        return lower in self._names or lower.startswith(self._begin)


class HeaderRules:
    """Which of its own headers a job may send. `Host` is refused unless it is allowed: it picks another site."""

    __slots__ = ("_allow", "_block", "_host")

    def __init__(self, allow: Names | None, block: Names, *, host: bool) -> None:
        self._allow = None if allow is None else _Patterns(allow)
        self._block = _Patterns(block)
        self._host = host

    def refusals(self, headers: Mapping[str, str], hosts: HostList | None) -> Iterator[tuple[str, str]]:
        """The name of each header that must not be sent, and why. A `Host` is held against the list of hosts too."""
        for name, value in headers.items():
            lower = name.lower()
            if lower == "host":
                why = self._host_refusal(value, hosts)
            elif self._block.match(lower):
                why = "is blocked by configuration"
            elif self._allow is not None and not self._allow.match(lower):
                why = "is not among the headers that are allowed"
            else:
                continue
            if why is not None:
                yield name, why

    def first(self, headers: Mapping[str, str], hosts: HostList | None) -> str | None:
        """What is wrong with the first header that must not be sent, in one line."""
        for name, why in self.refusals(headers, hosts):
            return f"the header {name[:100]} {why}"
        return None

    def _host_refusal(self, value: str, hosts: HostList | None) -> str | None:
        if not self._host:
            return "belongs to the connection and cannot be set by a job"
        given = _HOST_VALUE.fullmatch(value)
        if given is None:
            return "must be a host, and a port where it needs one"
        return hosts.refusal(given[1].strip("[]")) if hosts is not None else None


class TenantRules:
    """What holds for one tenant. `targets`, `callbacks`: None for any host that the address policy lets through."""

    __slots__ = ("callbacks", "headers", "targets", "trace_context")

    def __init__(self, section: Section, everybody: Section) -> None:
        targets = everybody.targets if section.targets is None else section.targets
        callbacks = everybody.callbacks if section.callbacks is None else section.callbacks
        mine, all_ = section.headers, everybody.headers
        self.targets: Final = None if targets is None else HostList(targets, "targets")
        self.callbacks: Final = None if callbacks is None else HostList(callbacks, "callbacks")
        self.headers: Final = HeaderRules(
            all_.allow if mine.allow is None else mine.allow,
            all_.block + mine.block,
            host=bool(all_.host if mine.host is None else mine.host),
        )
        told = everybody.trace_context if section.trace_context is None else section.trace_context
        self.trace_context: Final = told is not False


class EgressRules:
    """The rules by tenant; `of(tenant)` costs one look-up."""

    __slots__ = ("_by_tenant", "_everybody")

    def __init__(self, sections: Mapping[str, Section]) -> None:
        everybody = sections.get(EVERYBODY, Section())
        self._everybody: Final = TenantRules(Section(), everybody)
        self._by_tenant: Final = {
            tenant: TenantRules(section, everybody) for tenant, section in sections.items() if tenant != EVERYBODY
        }

    def of(self, tenant: str) -> TenantRules:
        return self._by_tenant.get(tenant, self._everybody)


NO_RULES: Final = EgressRules({})
ANY_TENANT: Final = NO_RULES.of("")
_decode = msgspec.json.Decoder(dict[str, Section]).decode


def parse_egress_rules(text: str) -> EgressRules:
    """The rules in JSON; raises ValueError with one line that says what is wrong."""
    if not text.strip():
        return NO_RULES
    try:
        sections = _decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f'must be JSON such as {{"*": {{"targets": ["api.example"]}}}}: {error}') from None
    for tenant in sections:
        if tenant != EVERYBODY and not _TENANT.fullmatch(tenant):
            raise ValueError(f"{tenant[:100]!r} is no tenant, nor *")
    return EgressRules(sections)
