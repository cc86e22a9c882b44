"""What a destination may take: how many calls at once, how many a second, and when it counts as away. Pure.

The same object is the body of `PUT /api/destinations/{host}` and a value of `CAROM_DESTINATIONS`.
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from carom_common.domain.destinations import destination_of

MAX_CONCURRENCY = 10_000
MAX_HOST = 260


class Rate(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Calls a second; `burst` is what may begin at once after a pause, a tenth of a second's calls by default."""

    per_second: Annotated[float, Meta(ge=0.01, le=100_000)]
    burst: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class CircuitRule(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Open for `open_seconds` after `failures` calls in a row found nobody there; 0 failures: never."""

    failures: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    open_seconds: Annotated[float, Meta(ge=1, le=3600)] | None = None


class Rule(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What is said about one destination; the defaults fill in what is not."""

    concurrency: Annotated[int, Meta(ge=1, le=MAX_CONCURRENCY)] | None = None
    rate: Rate | None = None
    circuit: CircuitRule | None = None


class Limits(NamedTuple):
    """What holds for a destination. `rate` in calls a second, 0 for any; times in seconds."""

    concurrency: int
    rate: float = 0.0
    burst: int = 1
    failures: int = 10
    open_seconds: float = 30.0


encode_rule = msgspec.json.Encoder().encode
decode_rule = msgspec.json.Decoder(Rule).decode
_decode_rules = msgspec.json.Decoder(dict[str, Rule]).decode


def limits_of(rule: Rule | None, default: Limits) -> Limits:
    """The limits of a destination that has this rule."""
    if rule is None:
        return default
    circuit = rule.circuit or CircuitRule()
    rate = rule.rate.per_second if rule.rate else 0.0
    burst = (rule.rate.burst or max(1, int(rule.rate.per_second / 10))) if rule.rate else 1
    return Limits(
        default.concurrency if rule.concurrency is None else rule.concurrency,
        rate,
        burst,
        default.failures if circuit.failures is None else circuit.failures,
        default.open_seconds if circuit.open_seconds is None else circuit.open_seconds,
    )


class RuleBook:
    """Rules of the configuration, and those of the API, which win for the destination that they name."""

    def __init__(self, default: Limits, configured: Mapping[str, Rule]) -> None:
        self.default = default
        self.configured = configured
        self.set: Mapping[str, Rule] = {}

    def of(self, host: str) -> Limits:
        return limits_of(self.set.get(host) or self.configured.get(host), self.default)


def parse_host(text: str) -> str:
    """A destination as `destination_of` writes it; raises ValueError saying how it is written."""
    how = "must be a host or host:port in lower case, IPv6 in brackets, without the port 80 or 443 of its scheme"
    if not 0 < len(text) <= MAX_HOST or any(c in text for c in "/?#@\\ %") or not text.isprintable():
        raise ValueError(how)
    try:
        if destination_of(f"http://{text}/") != text and destination_of(f"https://{text}/") != text:
            raise ValueError(how)
        port = urlsplit(f"http://{text}/").port
    except ValueError:
        raise ValueError(how) from None
    if port == 0 or text.startswith(":"):
        raise ValueError(how)
    return text


def parse_rules(text: str) -> dict[str, Rule]:
    """The rules of `CAROM_DESTINATIONS`; raises ValueError with one line that says what is wrong."""
    if not text.strip():
        return {}
    try:
        rules = _decode_rules(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ValueError(f'must be JSON such as {{"api.example": {{"concurrency": 5}}}}: {error}') from None
    for host in rules:
        try:
            parse_host(host)
        except ValueError as error:
            raise ValueError(f"{host[:100]!r} {error}") from None
    return rules
