"""Settings from environment variables: the base that every service extends.

A bad value stops the process at start with one line that names the variable. docs/reference/config.md lists them all;
a test compares it with these classes.
"""

import sys
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from carom_common.contracts.job import MAX_TIMEOUT_MS
from carom_common.contracts.sealing import parse_sealing_keys
from carom_common.domain.redaction import check_names
from carom_common.domain.rules import MAX_CONCURRENCY, Limits, RuleBook, parse_rules
from carom_common.telemetry.logging import LogFormat, LogLevel
from carom_common.tls import TlsFiles, problem_with

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


def _check_sealing_keys(value: SecretStr) -> SecretStr:
    parse_sealing_keys(value.get_secret_value())
    return value


def _check_headers(value: tuple[str, ...]) -> tuple[str, ...]:
    check_names(value)
    return value


def _check_endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = not value or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("must be a URL such as http://collector:4318")
    return value


class Settings(BaseSettings):
    """What all three services read. Times in seconds, sizes in bytes, unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="CAROM_", extra="ignore", frozen=True, hide_input_in_errors=True)

    rabbitmq_url: Annotated[SecretStr, _url("amqp", "amqps")] = Field(
        SecretStr("amqp://localhost:5672"), validation_alias="RABBITMQ_URL", description="Where RabbitMQ is."
    )
    redis_url: Annotated[SecretStr, _url("redis", "rediss", "unix")] = Field(
        SecretStr("redis://localhost:6379"), validation_alias="REDIS_URL", description="Where Redis is."
    )
    broker_ca_file: str = Field(
        "",
        description="PEM file of the CAs that RabbitMQ's certificate may be from, for `amqps://`; empty: the system's.",
    )
    broker_cert_file: str = Field(
        "", description="PEM file of the certificate that is shown to RabbitMQ, if it asks for one."
    )
    broker_key_file: str = Field("", description="PEM file of its key, where that is in a file of its own.")
    store_ca_file: str = Field(
        "", description="PEM file of the CAs that Redis' certificate may be from, for `rediss://`; empty: the system's."
    )
    store_cert_file: str = Field(
        "", description="PEM file of the certificate that is shown to Redis, if it asks for one."
    )
    store_key_file: str = Field("", description="PEM file of its key, where that is in a file of its own.")
    declare_topology: bool = Field(
        True,
        description="Declare exchanges and queues at start; `false` where `carom-<service> declare-topology` does.",
    )
    host: str = Field("0.0.0.0", description="Address that the API and the admin port listen on.")
    admin_port: int = Field(
        8081,
        ge=0,
        le=65535,
        description="Port of /livez, /readyz, /metrics and, within the pod, /debug/tasks; no ingress reaches it.",
    )
    log_level: LogLevel = Field("info", description="Least severe level that is logged.")
    log_format: LogFormat = Field(
        "auto", description="`json`, `console`, or `auto`: readable on a terminal, else JSON."
    )
    log_sample: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of jobs whose ordinary events (accepted, attempt, callback; each without trouble) are "
        "logged, the same jobs in all services. Warnings and errors always are.",
    )
    sensitive_headers: Annotated[NameList, AfterValidator(_check_headers)] = Field(
        (),
        description="Headers that are shown as `[redacted]` beside the known ones (`Authorization`, `Cookie`, "
        "`*-Token`, `*-Api-Key`, ...), comma separated; `*` in a name stands for anything.",
    )
    encryption_keys: Annotated[SecretStr, AfterValidator(_check_sealing_keys)] = Field(
        SecretStr(""),
        description="Keys that jobs and responses are encrypted with in RabbitMQ and Redis, comma separated: "
        "`<id>:<32 bytes in base64>`; the first encrypts, all decrypt. Empty: they are kept in clear. `clear` in the "
        "first place encrypts nothing, for a first rollout.",
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

    otlp_endpoint: Annotated[str, AfterValidator(_check_endpoint)] = Field(
        "",
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Base URL of a collector that takes spans over OTLP/HTTP, such as `http://collector:4318`; empty: "
        "none are made. The exporter's other variables (`OTEL_EXPORTER_OTLP_HEADERS`, `_CERTIFICATE`, ...) hold too.",
    )
    traces_sampler: Literal["parentbased_traceidratio", "traceidratio"] = Field(
        "parentbased_traceidratio",
        validation_alias="OTEL_TRACES_SAMPLER",
        description="`parentbased_traceidratio`: a client's `traceparent` decides whether its trace is sampled, and "
        "the ratio about the others. `traceidratio`: the ratio decides about all.",
    )
    traces_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        validation_alias="OTEL_TRACES_SAMPLER_ARG",
        description="Share of the traces that are sampled.",
    )
    trace_errors: bool = Field(
        True,
        description="Record the spans of what fails even where its trace is not sampled.",
    )
    trace_queue: int = Field(
        8192,
        ge=512,
        le=1_000_000,
        validation_alias="OTEL_BSP_MAX_QUEUE_SIZE",
        description="Spans that wait for the collector at most; more are dropped and counted.",
    )

    @model_validator(mode="after")
    def _check_tls(self) -> "Settings":
        for part, files, url, scheme, example in (
            ("BROKER", broker_tls(self), self.rabbitmq_url, "amqps", "RABBITMQ_URL (amqps://)"),
            ("STORE", store_tls(self), self.redis_url, "rediss", "REDIS_URL (rediss://)"),
        ):
            names = [f"CAROM_{part}_{kind}_FILE" for kind in ("CA", "CERT", "KEY")]
            secure = urlsplit(url.get_secret_value()).scheme == scheme
            if problem := problem_with(names, files, secure=secure, url=example):
                raise ValueError(problem)
        return self


def broker_tls(settings: Settings) -> TlsFiles:
    return TlsFiles(settings.broker_ca_file, settings.broker_cert_file, settings.broker_key_file)


def store_tls(settings: Settings) -> TlsFiles:
    return TlsFiles(settings.store_ca_file, settings.store_cert_file, settings.store_key_file)


def rule_book(settings: Settings) -> RuleBook:
    """The rules of destinations as configured."""
    default = Limits(
        settings.destination_concurrency,
        failures=settings.circuit_failures,
        open_seconds=settings.circuit_open,
    )
    return RuleBook(default, parse_rules(settings.destinations))


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
