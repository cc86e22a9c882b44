"""Settings from environment variables: the base that every service extends.

A bad value stops the process at start with one line that names the variable. docs/reference/config.md lists them all;
a test compares it with these classes.
"""

import sys
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from carom_common.contracts.job import MAX_TIMEOUT_MS
from carom_common.domain.address_policy import AddressPolicy
from carom_common.domain.rules import MAX_CONCURRENCY, Limits, RuleBook, parse_rules
from carom_common.telemetry.logging import LogFormat, LogLevel

HOLD_SECONDS = 1.0
CONSUMER_TIMEOUT_MARGIN = 60.0


def _url(*schemes: str) -> Any:
    def check(value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        try:
            valid = parts.scheme in schemes and bool(parts.hostname or parts.scheme == "unix") and parts.port != 0
        except ValueError:  # the port is no number, or a password has a / that is not written as %2F
            valid = False
        if not valid:
            raise ValueError(f"must be a URL such as {schemes[0]}://user:password@host:port")
        return value

    return AfterValidator(check)


def _check_rules(value: str) -> str:
    parse_rules(value)
    return value


_rules = AfterValidator(_check_rules)


def split_list(value: Any) -> Any:
    """`a,b,c` as the environment gives a list."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


NameList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]


class Settings(BaseSettings):
    """What all three services read. Times in seconds, sizes in bytes, unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="CAROM_", extra="ignore", frozen=True, hide_input_in_errors=True)

    rabbitmq_url: Annotated[SecretStr, _url("amqp", "amqps")] = Field(
        SecretStr("amqp://localhost:5672"), validation_alias="RABBITMQ_URL", description="Where RabbitMQ is."
    )
    redis_url: Annotated[SecretStr, _url("redis", "rediss", "unix")] = Field(
        SecretStr("redis://localhost:6379"), validation_alias="REDIS_URL", description="Where Redis is."
    )
    declare_topology: bool = Field(
        True,
        description="Declare exchanges and queues at start; `false` where `carom-<service> declare-topology` does.",
    )
    host: str = Field("0.0.0.0", description="Address that the API and the admin port listen on.")
    admin_port: int = Field(
        8081, ge=0, le=65535, description="Port of /livez, /readyz and /metrics; no ingress reaches it."
    )
    log_level: LogLevel = Field("info", description="Least severe level that is logged.")
    log_format: LogFormat = Field(
        "auto", description="`json`, `console`, or `auto`: readable on a terminal, else JSON."
    )
    shutdown_timeout: float = Field(30, gt=0, le=3600, description="Seconds that running work may take after SIGTERM.")
    retention: int = Field(
        86_400, ge=60, le=31_536_000, description="Seconds that a record is kept after its final state."
    )
    dead_retention: int = Field(
        1_209_600,
        ge=60,
        le=31_536_000,
        description="Seconds that the record of a dead-lettered or unfinished job is kept.",
    )
    destinations: Annotated[str, _rules] = Field(
        "",
        description="Rules by host, as JSON: each a body of `PUT /api/destinations/{host}`, which wins.",
    )
    destination_concurrency: int = Field(
        50, ge=1, le=MAX_CONCURRENCY, description="Calls at once to one destination, by all executors together."
    )
    circuit_failures: int = Field(
        10, ge=0, le=10_000, description="Calls in a row that find nobody, after which a circuit opens; 0: never."
    )
    circuit_open: float = Field(
        30, ge=1, le=3600, description="Seconds that an open circuit holds calls back before one tries again."
    )
    consumer_timeout: float = Field(
        1800,
        description="The broker's `consumer_timeout` in seconds; must exceed the longest job timeout, hold and margin.",
        ge=MAX_TIMEOUT_MS / 1000 + HOLD_SECONDS + CONSUMER_TIMEOUT_MARGIN,
    )


def rule_book(settings: Settings) -> RuleBook:
    """The rules of destinations as configured."""
    default = Limits(
        settings.destination_concurrency,
        failures=settings.circuit_failures,
        open_seconds=settings.circuit_open,
    )
    return RuleBook(default, parse_rules(settings.destinations))


class EgressSettings(Settings):
    """What the two services that call out read on top."""

    egress_allow: NameList = Field(
        (),
        description="CIDRs, addresses or host names, comma separated, that may be called although they are not public.",
    )
    egress_deny: NameList = Field(
        (), description="CIDRs, addresses or host names that may never be called; wins over the allow list."
    )
    max_response: int = Field(
        65_536,
        ge=1024,
        le=1_048_576,
        description="Bytes of a response that are kept; the rest is cut off while streaming.",
    )

    @model_validator(mode="after")
    def _check_lists(self) -> "EgressSettings":
        for name, entries in (("CAROM_EGRESS_ALLOW", self.egress_allow), ("CAROM_EGRESS_DENY", self.egress_deny)):
            try:
                AddressPolicy.parse(entries, ())
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return self


S = TypeVar("S", bound=Settings)


def load_settings(kind: type[S]) -> S:
    """Read the environment; on a bad value print one line and exit with status 2."""
    try:
        return kind()
    except ValidationError as error:
        print(_one_line(kind, error), file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


def variable(kind: type[Settings], field: str) -> str:
    """The environment variable of a field."""
    alias = kind.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"CAROM_{field.upper()}"


def _one_line(kind: type[Settings], error: ValidationError) -> str:
    by_variable = {variable(kind, field): field for field in kind.model_fields}
    problems = []
    for problem in error.errors(include_url=False, include_input=False):
        text = problem["msg"].removeprefix("Value error, ")
        if problem["loc"]:
            place = str(problem["loc"][0])
            field = place if place in kind.model_fields else by_variable[place]
            text = f"{variable(kind, field)}: {text[:1].lower()}{text[1:]} ({kind.model_fields[field].description})"
        problems.append(text)
    return "cannot start, bad configuration: " + "; ".join(problems)
