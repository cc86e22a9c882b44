"""Spans of requests, publishes and attempts. Where tracing is off there is no Tracer, and nothing here runs.

A span is written when it is over and its outcome known, with the times noted on the way: so an attempt that failed has
spans even where its trace is not sampled, and one that did not costs a few notes. See docs/adr/0017 and
docs/reference/traces.md.
"""

import random
from time import time_ns
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from carom_common.contracts.message import CallbackMessage, ExecuteMessage
from carom_common.telemetry import spans
from carom_common.telemetry.spans import Span
from carom_common.telemetry.trace import child, is_sampled, is_traceparent, sampled

_ALL: Final = 1 << 64
_MS: Final = 1_000_000

M = TypeVar("M", ExecuteMessage, CallbackMessage)


class Sink(Protocol):
    """Takes spans that are over; never blocks, never raises."""

    def record(self, span: Span) -> None: ...

    async def close(self, seconds: float) -> None:
        """Send what is left, for so long at most."""


class Tracer:
    """Decides which traces are sampled, once, where they begin; every later hop reads it from the traceparent."""

    def __init__(self, sink: Sink, ratio: float, broker_url: str, *, follow: bool = True, errors: bool = True) -> None:
        """`follow`: a client's traceparent decides, as ParentBased does. `errors`: what fails is always recorded."""
        self._sink = sink
        self._bound = round(ratio * _ALL)
        self._follow = follow
        self.errors = errors
        self.broker: Final = spans.broker_attributes(broker_url)
        self.record = sink.record

    async def close(self, seconds: float) -> None:
        await self._sink.close(seconds)

    def _decide(self, trace: int) -> int:
        """As TraceIdRatioBased: all who know the trace's id come to the same answer."""
        return int(trace & (_ALL - 1) < self._bound)

    def root(self) -> str:
        """The traceparent of a span that begins a trace."""
        trace = random.getrandbits(128) or 1
        return f"00-{trace:032x}-{random.getrandbits(64) or 1:016x}-0{self._decide(trace)}"

    def request(self, header: str | None) -> "RequestTrace":
        """A request to the API has come, with this traceparent or none."""
        if header is None or not is_traceparent(header):
            return RequestTrace(self, self.root(), "")
        parent = header
        if not self._follow:
            parent = f"{header[:53]}0{self._decide(int(header[3:35], 16))}"
        return RequestTrace(self, child(parent), parent)

    def sending(self, message: M) -> "Sending[M]":
        return Sending(self, message)


class RequestTrace:
    """One request to the API."""

    __slots__ = ("_parent", "_started", "_tracer", "context")

    def __init__(self, tracer: Tracer, context: str, parent: str) -> None:
        self.context: Final = context
        self._parent = parent
        self._tracer = tracer
        self._started = time_ns()

    def end(self, method: str, scheme: str, path: str, route: str, status: int) -> None:
        """`status` 0: it was broken off before an answer."""
        context = self.context
        if not is_sampled(context):
            if not (status >= 500 and self._tracer.errors):
                return
            context = sampled(context)
        attributes = spans.server_attributes(method, scheme, path, route, status)
        name = f"{spans.known_method(method)} {route}".rstrip().replace("_OTHER", "HTTP")
        failed = spans.ERROR_TYPE in attributes
        span = Span(name, "server", context, self._parent, self._started, time_ns(), attributes, failed)
        self._tracer.record(span)


class Sending(Generic[M]):
    """One message that intake publishes; `message` is what goes out. One without a traceparent begins a trace."""

    __slots__ = ("_context", "_parent", "_started", "_tracer", "message")

    def __init__(self, tracer: Tracer, message: M) -> None:
        self._tracer = tracer
        self._parent = message.traceparent
        self._started = now = time_ns()
        context = message.traceparent or tracer.root()
        # Where nothing is recorded the next span has the same parent as this one would have had.
        if is_sampled(context) and self._parent:
            context = child(context)
        self._context = context if is_sampled(context) else ""
        self.message: M = msgspec.structs.replace(message, traceparent=context, published=now // _MS)

    def end(self, exchange: str, routing_key: str, message_id: str, error: str = "") -> None:
        """Confirmed under this id, or not, with the kind of `error`."""
        context = self._context
        if not context:
            if not (error and self._tracer.errors):
                return
            context = sampled(child(self.message.traceparent))
        attributes = spans.send_attributes(exchange, routing_key, message_id, self.message, error) | self._tracer.broker
        self._tracer.record(
            Span(
                f"publish {exchange}:{routing_key}",
                "producer",
                context,
                self._parent,
                self._started,
                time_ns(),
                attributes,
                bool(error),
            )
        )
