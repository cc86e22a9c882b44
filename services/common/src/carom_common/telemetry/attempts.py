"""The spans of one attempt to call or to call back: process, wait, call and what is published next."""

from time import time_ns
from typing import Final

import msgspec

from carom_common.contracts.message import CallbackMessage, ExecuteMessage
from carom_common.telemetry import spans
from carom_common.telemetry.spans import Attributes, Event, Link, Span
from carom_common.telemetry.trace import another_trace, child, is_sampled, sampled
from carom_common.telemetry.tracing import M, Tracer

LONG_WAIT_MS: Final = 900_000
"""An attempt that begins later than this after its message was published begins a trace of its own."""
_MS: Final = 1_000_000


class AttemptTrace:
    """One attempt, from the claim to the ack.

    `message` is the attempt's own, in another trace where it waited long: whatever is published next comes of it.
    """

    __slots__ = (
        "_answer",
        "_attributes",
        "_began",
        "_call",
        "_call_ended",
        "_call_started",
        "_context",
        "_failed",
        "_links",
        "_parent",
        "_request",
        "_sampled",
        "_sent",
        "_settled",
        "_tracer",
        "message",
    )

    def __init__(self, tracer: Tracer, message: ExecuteMessage | CallbackMessage) -> None:
        self._tracer = tracer
        self._began = time_ns()
        self._parent = message.traceparent
        self._links: tuple[Link, ...] = (Link(message.previous, "previous-attempt"),) if message.previous else ()
        if message.published and self._began // _MS - message.published > LONG_WAIT_MS:
            self._links += (Link(self._parent, "message"),)
            self._parent = ""
            another = another_trace(
                message.traceparent,
                f"{message.job_id}/{message.generation}/{type(message).__name__}/{message.number}",
            )
            message = msgspec.structs.replace(message, traceparent=another)
        self.message = message
        self._sampled = is_sampled(message.traceparent)
        self._context = child(message.traceparent) if self._sampled else ""
        self._request = ("", "")
        self._call = ""
        self._call_started = self._call_ended = self._settled = 0
        self._answer: tuple[int | None, str | None, str] = (None, None, "")
        self._attributes: Attributes = {}
        self._failed = False
        self._sent: list[Span] = []

    def calling(self, method: str, url: str, headers: dict[str, str], *, propagate: bool) -> None:
        """The call begins now; adds its `traceparent` to the headers, unless the job has set one."""
        self._call = child(self._context or self.message.traceparent)
        self._request = (method, url)
        if propagate and not any(len(name) == 11 and name.lower() == "traceparent" for name in headers):
            headers["traceparent"] = self._call
        self._call_started = time_ns()

    def called(self, status: int | None, peer: str | None, reason: str = "") -> None:
        """The call is over: an answer from this `ip:port`, or the bounded reason why there is none."""
        self._call_ended = time_ns()
        self._answer = (status, peer, reason)

    def cancelled(self) -> None:
        """The job was cancelled, and the call with it where one was under way."""
        if self._call_started and not self._call_ended:
            self.called(None, None, "cancelled")
        self.decided("cancelled", "", failed=False)

    def decided(self, outcome: str, reason: str, *, failed: bool, retry_ms: int = 0) -> None:
        """What became of the attempt; `reason` is a bounded code of what went wrong, if not the call's."""
        self._failed = failed
        self._attributes[spans.OUTCOME] = outcome
        if failed:
            self._attributes[spans.ERROR_TYPE] = reason or self._answer[2] or outcome
        if retry_ms:
            self._attributes[spans.RETRY_DELAY] = retry_ms

    def settled(self, *, accepted: bool) -> None:
        """The record has the outcome, or refused it: another delivery has the attempt."""
        self._settled = time_ns()
        if not accepted:
            self._attributes[spans.OUTCOME] = "superseded"

    def following(self, message: M, *, retry: bool = False) -> M:
        """A message as it is published: it knows the span that sends it, when, and which attempt it repeats."""
        context = child(self.message.traceparent) if self._sampled else self.message.traceparent
        previous = sampled(self._own()) if retry and self._recorded else ""
        return msgspec.structs.replace(message, traceparent=context, published=time_ns() // _MS, previous=previous)

    def published(self, exchange: str, routing_key: str, message_id: str, context: str, started: int) -> None:
        """A message is confirmed; `context` is what `following` gave it, empty where nobody goes on with it."""
        if self._sampled:
            attributes = spans.send_attributes(exchange, routing_key, message_id, self.message) | self._tracer.broker
            name = f"publish {exchange}:{routing_key}"
            context = context or child(self._context)
            self._sent.append(Span(name, "producer", context, self._context, started, time_ns(), attributes))

    def end(self, queue: str, routing_key: str, message_id: str, size: int) -> None:
        """Acknowledged, or left to others: the spans are written, where the trace is sampled or the attempt failed."""
        if not self._recorded:
            return
        own, ended = sampled(self._own()), time_ns()
        taken = spans.taken_attributes(self.message, queue, routing_key, message_id, size) | self._tracer.broker
        waits = spans.wait_attributes(self.message, self._began // _MS)
        record = self._tracer.record
        if self._sampled and self._parent and waits:
            start = min(self.message.published * _MS, self._began)
            record(Span(f"wait {queue}", "internal", child(own), self._parent, start, self._began, taken | waits))
        if self._call_ended:
            record(self._client(own))
        for span in self._sent:
            record(span)
        events = [Event(name, at) for name, at in (("call ended", self._call_ended), ("settled", self._settled)) if at]
        name, whole = f"process {queue}", taken | spans.PROCESSING | waits | self._attributes
        record(Span(name, "consumer", own, self._parent, self._began, ended, whole, self._failed, events, self._links))

    @property
    def _recorded(self) -> bool:
        return self._sampled or (self._failed and self._tracer.errors)

    def _own(self) -> str:
        if not self._context:
            self._context = child(self.message.traceparent)
        return self._context

    def _client(self, own: str) -> Span:
        method, url = self._request
        status, peer, reason = self._answer
        error = reason or (str(self._attributes[spans.ERROR_TYPE]) if self._failed else "")
        attributes = spans.client_attributes(method, url, status, error, peer, spans.resends(self.message))
        times = (self._call_started, self._call_ended)
        return Span(spans.known_method(method), "client", sampled(self._call), own, *times, attributes, bool(error))
