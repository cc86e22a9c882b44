"""The SDK and its exporter at collectors that are well, slow, or away: nobody waits, and what is lost is counted."""

import asyncio
import time
import uuid
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from tests.support.collector import Collector
from tests.support.loopback import LoopbackServer

from carom_common.telemetry import metrics
from carom_common.telemetry.otlp import OtlpSink, Telling
from carom_common.telemetry.spans import Event, Link, Span
from devstack.ports import free_port

QUEUE = 512


class Silent(LoopbackServer):
    """Takes connections and answers nothing."""

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read()
        return False


def span(trace: str = "", parent: str = "") -> Span:
    now = time.time_ns()
    trace = trace or uuid.uuid4().hex
    context = f"00-{trace}-{uuid.uuid4().hex[:16]}-01"
    link = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    events, links = [Event("settled", now)], [Link(link, "previous-attempt")]
    return Span("process q", "consumer", context, parent, now - 1000, now, {"carom.attempt": 2}, True, events, links)


def lost(reason: str) -> float:
    return float(metrics.trace_spans_dropped.labels(reason).value)


async def test_a_span_arrives_as_it_was_written() -> None:
    parent = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    async with Collector() as collector:
        sink = OtlpSink("executor", collector.url + "/", QUEUE)
        given = [span(parent[3:35], parent), span()]
        for each in given:
            sink.record(each)
        await sink.close(10)
    below, root = sorted(collector.spans, key=lambda got: got.parent, reverse=True)
    assert (below.trace, below.span, below.parent) == (parent[3:35], given[0].context[36:52], "00f067aa0ba902b7")
    assert (root.trace, root.span, root.parent) == (given[1].context[3:35], given[1].context[36:52], "")
    assert (below.service, below.kind, below.name, below.failed) == ("carom-executor", "consumer", "process q", True)
    assert (below.start, below.end) == (given[0].start, given[0].end)
    assert (below.attributes, below.events) == ({"carom.attempt": 2}, ["settled"])
    assert below.links == [(given[0].links[0].to[3:35], "00f067aa0ba902b7", "previous-attempt")]


@pytest.mark.parametrize("way", ["refuses", "silent"])
async def test_nobody_waits_for_a_collector_that_is_away(way: str) -> None:
    before = lost("queue-full")
    async with Silent() as silent:
        url = f"http://127.0.0.1:{free_port()}" if way == "refuses" else f"http://{silent.host}"
        sink = OtlpSink("executor", url, QUEUE)
        began = time.monotonic()
        for _ in range(4 * QUEUE):
            sink.record(span())
        assert time.monotonic() - began < 5
        began = time.monotonic()
        await sink.close(0.5)
        assert time.monotonic() - began < 3
    assert lost("queue-full") - before > QUEUE


class Fickle(SpanExporter):
    """Fails as often as it is told to."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.failures -= 1
        return SpanExportResult.SUCCESS if self.failures < 0 else SpanExportResult.FAILURE


def test_a_trouble_is_told_once_and_its_end_too(capsys: pytest.CaptureFixture[str]) -> None:
    before, exporter = lost("not-exported"), Telling(Fickle(3))
    spans = [ReadableSpan("a"), ReadableSpan("b")]
    for _ in range(5):
        exporter.export(spans)
    assert (exporter.taken, lost("not-exported") - before) == (10, 6)
    said = capsys.readouterr().out
    assert (said.count("traces_not_exported"), said.count("traces_exported_again")) == (1, 1)
