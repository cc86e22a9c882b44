"""Structured logs: JSON lines, or readable on a terminal. docs/reference/events.md lists every event.

Never a header value, a payload or a secret: events carry ids, counts, statuses and reasons.
"""

import logging
import sys
from typing import Any, Literal

import msgspec
import structlog

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


def configure_logging(service: str, level: LogLevel, fmt: LogFormat) -> None:
    """Log to standard output; `auto` is readable on a terminal and JSON elsewhere."""
    readable = fmt == "console" or (fmt == "auto" and sys.stdout.isatty())
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if readable else "iso", utc=not readable),
        structlog.processors.format_exc_info,
    ]
    factory: Any
    if readable:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), pad_event_to=24))
        factory = structlog.PrintLoggerFactory()
    else:
        processors += [_with_service(service), structlog.processors.JSONRenderer(serializer=_dump)]
        factory = structlog.BytesLoggerFactory()
    number = getattr(logging, level.upper())
    structlog.configure(processors, wrapper_class=structlog.make_filtering_bound_logger(number), logger_factory=factory)
    # Libraries that log through the standard library: only what an operator must see.
    logging.basicConfig(
        level=max(number, logging.WARNING), format="%(levelname)s %(name)s %(message)s", stream=sys.stdout
    )
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def get_logger() -> Any:
    return structlog.get_logger()


_encode = msgspec.json.Encoder(enc_hook=str).encode


def _dump(event: dict[str, Any], **_: Any) -> bytes:
    return _encode(event)


def _with_service(service: str) -> Any:
    def add(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        event["service"] = service
        return event

    return add
