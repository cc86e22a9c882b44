"""Structured logs: JSON lines, or readable on a terminal. docs/reference/events.md lists every event.

Never a header value, a payload or a secret: events carry ids, counts, statuses and reasons.

Events of ordinary successes may be sampled, see `sampling`; warnings, errors and whatever is rare never are.
"""

import logging
import sys
import time
from typing import Any, Literal, TextIO
from zlib import crc32

import msgspec
import structlog

from carom_common.telemetry import metrics

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

_ALL = 1 << 32


class Sampling:
    """Which jobs' ordinary events are written: a share of the jobs, each with all of its events, in all services.

    Ask `keeps` before an event is put together, so that one which is not to be written costs nothing.
    """

    __slots__ = ("_below", "_on", "told")

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        """What an event that was kept says of that."""
        self.set(1.0, on=True)

    def set(self, rate: float, *, on: bool) -> None:
        """`on`: whether events of level info are written at all."""
        self.told = {"sample_rate": rate} if rate < 1 else {}
        self._below = int(rate * _ALL)
        self._on = on

    def keeps(self, job_id: str) -> bool:
        if not self._on:
            return False
        if self._below == _ALL or crc32(job_id.encode()) < self._below:
            return True
        metrics.log_left_out.inc()
        return False


sampling = Sampling()


def configure_logging(
    service: str, level: LogLevel, fmt: LogFormat, sample: float = 1.0, to: TextIO | None = None
) -> None:
    """Log to standard output, or where a tool's own output is not; `auto` is readable on a terminal and JSON elsewhere.

    `sample`: share of the ordinary.
    """
    to = to or sys.stdout
    readable = fmt == "console" or (fmt == "auto" and to.isatty())
    processors: list[Any]
    factory: Any
    if readable:
        processors = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=to.isatty(), pad_event_to=24),
        ]
        factory = structlog.PrintLoggerFactory(to)
    else:
        processors = [_json_lines(service)]
        factory = structlog.BytesLoggerFactory(to.buffer)
    number = getattr(logging, level.upper())
    structlog.configure(
        processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=factory,
        cache_logger_on_first_use=True,  # or each line makes a logger of its own, a third of its cost
    )
    sampling.set(sample, on=number <= logging.INFO)
    # Libraries that log through the standard library: only what an operator must see.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_Library()])
    logging.captureWarnings(True)
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


class _Library(logging.Handler):
    """What a library says becomes an event like ours: every line has one form."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = get_logger()
            report = log.error if record.levelno >= logging.ERROR else log.warning
            report("library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)
        except Exception:
            self.handleError(record)


def get_logger() -> Any:
    return structlog.get_logger()


_encode = msgspec.json.Encoder(enc_hook=str).encode


def _json_lines(service: str) -> Any:
    """One processor for all that a line needs: several of them cost more than the line."""
    clock = _Clock()

    def line(logger: Any, method: str, event: dict[str, Any]) -> bytes:
        if "exc_info" in event:
            event = dict(structlog.processors.format_exc_info(logger, method, event))
        event["level"] = "error" if method == "exception" else method
        event["timestamp"] = clock.now()
        event["service"] = service
        return _encode(event)

    return line


class _Clock:
    """RFC 3339 in UTC with microseconds; the text of a second is made once."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._text}{nanoseconds // 1000:06d}Z"
