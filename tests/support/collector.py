"""A real receiver of OTLP over HTTP on loopback: keeps the spans that it gets, as the protocol has them."""

import asyncio
import gzip
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from tests.support.loopback import LoopbackServer
from tests.support.waiting import WITHIN, eventually


@dataclass(frozen=True)
class Got:
    """A span; ids in hex as in a traceparent, times in Unix nanoseconds, `links` as (trace, span, what)."""

    service: str
    name: str
    kind: str
    trace: str
    span: str
    parent: str
    start: int
    end: int
    attributes: dict[str, Any]
    links: list[tuple[str, str, Any]]
    events: list[str]
    failed: bool

    @property
    def job(self) -> Any:
        return self.attributes.get("carom.job.id")


class Collector(LoopbackServer):
    """`async with Collector() as collector`: services send to `collector.url`."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Got] = []
        self.bodies: list[bytes] = []
        self.resources: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        assert lines[0] == "post /v1/traces http/1.1"
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self._keep(body)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return True

    def _keep(self, body: bytes) -> None:
        self.bodies.append(body)
        for resource, spans in received(body):
            self.resources.append(resource)
            self.spans += spans

    async def of_job(self, job_id: str, count: int, within: float = WITHIN + 10) -> list[Got]:
        """The spans that name a job and their calls, in the order of their beginning, once there are `count`."""

        def enough() -> list[Got] | None:
            own = [span for span in self.spans if span.job == job_id]
            ids = {span.span for span in own}
            known = {span.parent for span in own} | ids
            spans = [s for s in self.spans if s.job == job_id or s.parent in ids or s.span in known]
            return spans if len(spans) >= count else None

        try:
            found = await eventually(enough, f"{count} spans of {job_id}", within)
        except AssertionError as error:
            names = [(s.service, s.name) for s in self.spans if s.job == job_id]
            raise AssertionError(f"{error}; there are {names}") from None
        return sorted(found, key=lambda span: span.start)


def received(body: bytes) -> list[tuple[dict[str, Any], list[Got]]]:
    """The attributes of each resource in a request of an exporter, and its spans."""
    found = []
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {pair.key: _value(pair.value) for pair in group.resource.attributes}
        spans = [_got(resource["service.name"], span) for scope in group.scope_spans for span in scope.spans]
        found.append((resource, spans))
    return found


def _got(service: str, span: Sent) -> Got:
    return Got(
        service=service,
        name=span.name,
        kind=Sent.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes={pair.key: _value(pair.value) for pair in span.attributes},
        links=[
            (link.trace_id.hex(), link.span_id.hex(), next((_value(p.value) for p in link.attributes), None))
            for link in span.links
        ],
        events=[event.name for event in span.events],
        failed=span.status.code == Status.STATUS_CODE_ERROR,
    )


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
