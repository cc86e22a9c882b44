"""Spans on their way to a collector: OpenTelemetry's SDK and its OTLP/HTTP exporter. Imported where tracing is on."""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from carom_common import __version__
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.spans import LINK, Span
from carom_common.telemetry.trace import span_id, trace_id

TRACES_PATH = "/v1/traces"
_KINDS = {kind.name.lower(): kind for kind in SpanKind}
_FAILED = Status(StatusCode.ERROR)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_ROOT = Context()

log = get_logger()
_queue_full = metrics.trace_spans_dropped.labels("queue-full")
_not_exported = metrics.trace_spans_dropped.labels("not-exported")


class OtlpSink:
    """Hands spans to the SDK, whose thread sends them in batches. What does not fit into its queue is dropped."""

    def __init__(self, service: str, endpoint: str, queue: int) -> None:
        """`endpoint` is the collector's base URL. The SDK itself reads OTEL_EXPORTER_OTLP_HEADERS and alike."""
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # Telling tells it, in our form
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)
        self._queue = queue
        self._recorded = 0
        self._ids = _GivenIds()
        self._exporter = Telling(OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH))
        self._processor = BatchSpanProcessor(self._exporter, max_queue_size=queue)
        resource = Resource.create(
            {
                "service.namespace": "carom",
                "service.name": f"carom-{service}",
                "service.version": __version__,
                "service.instance.id": f"{socket.gethostname()}/{os.getpid()}",
            }
        )
        # Whether a span is recorded was decided by who made it.
        provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False, id_generator=self._ids)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("carom", __version__, schema_url=Schemas.V1_43_0.value)

    def record(self, span: Span) -> None:
        if self._recorded - self._exporter.taken >= self._queue:
            _queue_full.inc()
            return
        self._recorded += 1
        context = _context(span.context)
        self._ids.trace, self._ids.span = context.trace_id, context.span_id
        written = self._tracer.start_span(
            span.name,
            set_span_in_context(NonRecordingSpan(_context(span.parent)), _ROOT) if span.parent else _ROOT,
            _KINDS[span.kind],
            span.attributes,
            [Link(_context(link.to), {LINK: link.what}) for link in span.links],
            span.start,
        )
        for event in span.events:
            written.add_event(event.name, timestamp=event.at)
        if span.failed:
            written.set_status(_FAILED)
        written.end(span.end)

    async def close(self, seconds: float) -> None:
        """Send what is left. Its thread is not waited for longer: a collector that is away holds up nothing."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=flush, name="flush spans", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                await done.wait()
        except TimeoutError:
            log.warning("traces_not_flushed", spans=self._recorded - self._exporter.taken)


class Telling(SpanExporter):
    """An exporter that counts what it takes and what it loses, and logs the beginning and the end of a trouble."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        self.taken += len(spans)
        try:
            result = self._exporter.export(spans)
        finally:
            failed = result is not SpanExportResult.SUCCESS
            if failed:
                _not_exported.inc(len(spans))
            if failed != self._failing:
                self._failing = failed
                log.warning("traces_not_exported") if failed else log.info("traces_exported_again")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _GivenIds(IdGenerator):
    """Ids that others know already: they went out with a message or a call before the span is written."""

    trace = span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


def _context(traceparent: str) -> SpanContext:
    ids = int(trace_id(traceparent), 16), int(span_id(traceparent), 16)
    return SpanContext(*ids, is_remote=True, trace_flags=_SAMPLED)
