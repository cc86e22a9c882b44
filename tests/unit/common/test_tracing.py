"""Which spans are written, with what: the pure part of tracing."""

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
)

from carom_common.contracts.job import decode_job
from carom_common.contracts.message import CallbackMessage, ExecuteMessage, decode_execute, encode
from carom_common.domain.clock import now_ms
from carom_common.telemetry import spans
from carom_common.telemetry.attempts import LONG_WAIT_MS, AttemptTrace
from carom_common.telemetry.spans import Span, client_attributes, server_of, shown_url
from carom_common.telemetry.trace import another_trace, child, is_sampled, is_traceparent, sampled, trace_id
from carom_common.telemetry.tracing import Tracer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7"
BROKER = "amqps://user:hunter2@broker.example/vhost"
JOB = decode_job(b'{"targetUrl":"http://a.example/x?y","callbackUrl":null}')


class Written:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def record(self, span: Span) -> None:
        self.spans.append(span)

    async def close(self, seconds: float) -> None: ...


def message(flags: str = "01", **fields: Any) -> ExecuteMessage:
    return ExecuteMessage(1, "default", "id", JOB, 1, traceparent=f"{PARENT}-{flags}", **fields)


def attempt(written: Written, given: ExecuteMessage, *, failed: bool, errors: bool = True) -> AttemptTrace:
    trace = AttemptTrace(Tracer(written, 0, BROKER, errors=errors), given)
    trace.calling("GET", JOB.target_url, {}, propagate=True)
    trace.called(500 if failed else 200, "192.0.2.1:80")
    trace.decided("exhausted" if failed else "completed", "http-5xx", failed=failed)
    trace.settled(accepted=True)
    trace.end("carom.execute.normal", "execute.normal.100", "m-1", 10)
    return trace


def test_contexts() -> None:
    for flags, yes in (("00", False), ("01", True), ("03", True), ("02", False), ("ff", True)):
        given = f"{PARENT}-{flags}"
        assert is_sampled(given) is yes
        made = child(given)
        assert is_traceparent(made)
        assert (trace_id(made), is_sampled(made)) == (TRACE, yes)
        assert made[36:52] != given[36:52]
    assert sampled(f"{PARENT}-00") == f"{PARENT}-01"
    other = another_trace(f"{PARENT}-01", "seed")
    assert is_traceparent(other)
    assert other == another_trace(f"{PARENT}-01", "seed") != another_trace(f"{PARENT}-01", "other")


@pytest.mark.parametrize("ratio", [0, 0.3, 1])
def test_sampling_is_that_of_the_sdk(ratio: float) -> None:
    tracer, theirs = Tracer(Written(), ratio, BROKER), TraceIdRatioBased(ratio)
    roots = [tracer.root() for _ in range(500)]
    decided = [theirs.should_sample(None, int(trace_id(root), 16), "x").decision for root in roots]
    assert [is_sampled(root) for root in roots] == [decision is Decision.RECORD_AND_SAMPLE for decision in decided]
    assert all(map(is_traceparent, roots))


@pytest.mark.parametrize(("follow", "flags", "yes"), [(True, "01", True), (True, "00", False), (False, "01", False)])
def test_who_decides_about_a_client_s_trace(follow: bool, flags: str, yes: bool) -> None:
    written = Written()
    trace = Tracer(written, 0, BROKER, follow=follow).request(f"{PARENT}-{flags}")
    assert (is_sampled(trace.context), trace_id(trace.context)) == (yes, TRACE)
    trace.end("GET", "http", "/api/jobs", "/api/jobs", 200)
    assert len(written.spans) == int(yes)


def test_an_error_of_the_api_is_always_written() -> None:
    written = Written()
    for status in (404, 503):
        Tracer(written, 0, BROKER).request(None).end("BREW", "http", "/api/jobs", "", status)
    Tracer(written, 0, BROKER, errors=False).request(None).end("GET", "http", "/api/jobs", "/api/jobs", 503)
    (span,) = written.spans
    assert (span.name, span.failed, span.attributes["error.type"]) == ("HTTP", True, "503")
    assert is_sampled(span.context)


@pytest.mark.parametrize(
    ("flags", "failed", "errors", "names"),
    [
        ("01", False, True, ["GET", "process carom.execute.normal"]),
        ("00", False, True, []),
        ("00", True, True, ["GET", "process carom.execute.normal"]),
        ("00", True, False, []),
        ("01", True, False, ["GET", "process carom.execute.normal"]),
    ],
)
def test_what_is_written_of_an_attempt(flags: str, failed: bool, errors: bool, names: list[str]) -> None:
    written = Written()
    attempt(written, message(flags), failed=failed, errors=errors)
    assert [span.name for span in written.spans] == names
    assert all(is_sampled(span.context) for span in written.spans)


def test_a_call_that_was_cancelled_has_a_span_that_says_so() -> None:
    written = Written()
    trace = AttemptTrace(Tracer(written, 0, BROKER), message())
    headers: dict[str, str] = {}
    trace.calling("GET", JOB.target_url, headers, propagate=True)
    trace.cancelled()
    trace.end("carom.execute.normal", "execute.normal", "m-1", 10)
    call, process = written.spans
    assert (call.context, call.parent) == (headers["traceparent"], process.context)
    assert (call.failed, call.attributes["error.type"]) == (True, "cancelled")
    assert (process.failed, process.attributes["carom.outcome"]) == (False, "cancelled")


def test_a_call_that_had_ended_when_its_job_was_cancelled_keeps_its_answer() -> None:
    written = Written()
    trace = AttemptTrace(Tracer(written, 0, BROKER), message())
    trace.calling("GET", JOB.target_url, {}, propagate=True)
    trace.called(200, "192.0.2.1:80")
    trace.cancelled()
    trace.end("carom.execute.normal", "execute.normal", "m-1", 10)
    assert (written.spans[0].failed, written.spans[0].attributes["http.response.status_code"]) == (False, 200)


def test_a_job_cancelled_before_its_call_has_no_span_of_one() -> None:
    written = Written()
    trace = AttemptTrace(Tracer(written, 0, BROKER), message())
    trace.cancelled()
    trace.end("carom.execute.normal", "execute.normal", "m-1", 10)
    assert [span.kind for span in written.spans] == ["consumer"]


@pytest.mark.parametrize(("ratio", "error", "count"), [(1, "", 1), (0, "", 0), (0, "BrokerUnavailable", 1)])
def test_a_message_of_nobody_s_request_begins_its_trace(ratio: int, error: str, count: int) -> None:
    written = Written()
    sending = Tracer(written, ratio, BROKER).sending(ExecuteMessage(1, "default", "id", JOB, 1))
    sending.end("carom.work", "execute.normal", "m-1", error)
    assert is_traceparent(sending.message.traceparent)
    assert is_sampled(sending.message.traceparent) is bool(ratio)
    assert len(written.spans) == count
    for span in written.spans:
        assert (span.kind, span.parent, span.failed) == ("producer", "", bool(error))
        assert trace_id(span.context) == trace_id(sending.message.traceparent)
        assert (span.context == sending.message.traceparent) is bool(ratio)


def test_a_message_says_its_broker_without_who_asks_there() -> None:
    assert spans.broker_attributes(BROKER) == {"server.address": "broker.example", "server.port": 5671}
    assert spans.broker_attributes("amqp://b:5673")["server.port"] == 5673


def test_a_retry_says_what_it_repeats_and_since_when_it_waits() -> None:
    written = Written()
    for flags in ("00", "01"):
        trace = attempt(written, message(flags), failed=True)
        following = trace.following(message(flags, attempt=2), retry=True)
        assert following.previous == written.spans[-1].context
        assert abs(following.published - now_ms()) < 5000
        assert decode_execute(encode(following)) == following
        assert is_sampled(following.traceparent) is (flags == "01")
    assert attempt(written, message("00"), failed=False).following(message(), retry=True).previous == ""


def test_a_long_wait_begins_another_trace() -> None:
    written = Written()
    previous = f"{PARENT}-01"
    waited = message(published=now_ms() - LONG_WAIT_MS - 1000, eta=now_ms() - 500, previous=previous, attempt=2)
    first, second = (attempt(written, waited, failed=False) for _ in range(2))
    assert first.message.traceparent == second.message.traceparent
    assert trace_id(first.message.traceparent) != TRACE
    process = written.spans[1]
    assert [span.name for span in written.spans[:2]] == ["GET", "process carom.execute.normal"]
    assert process.parent == ""
    assert [(link.to, link.what) for link in process.links] == [
        (previous, "previous-attempt"),
        (waited.traceparent, "message"),
    ]
    assert 400 < int(process.attributes["carom.wait.queue_ms"]) < 5000
    assert int(process.attributes["carom.wait.delay_ms"]) > LONG_WAIT_MS
    soon = attempt(written, message(published=now_ms() - LONG_WAIT_MS + 60_000), failed=False)
    assert trace_id(soon.message.traceparent) == TRACE


def test_a_job_may_set_a_traceparent_of_its_own() -> None:
    trace = AttemptTrace(Tracer(Written(), 1, BROKER), message())
    for headers, propagate, expected in (
        ({"Traceparent": "own"}, True, ["own"]),
        ({}, False, []),
    ):
        trace.calling("GET", JOB.target_url, headers, propagate=propagate)
        assert list(headers.values()) == expected


def test_a_callback_counts_its_own_attempts() -> None:
    back = CallbackMessage(1, "default", "id", JOB, 1, "failed", 2, callback_attempt=3)
    assert spans.taken_attributes(back, "carom.callback", "callback.normal", "m", 1)["carom.attempt"] == 3


@pytest.mark.parametrize(
    ("url", "shown", "server"),
    [
        ("http://u:p@a.example:81/b/c?d=e#f", "http://a.example:81/b/c", ("a.example", 81)),
        ("https://a.example", "https://a.example", ("a.example", 443)),
        ("https://[2001:db8::1]/x?y@z", "https://[2001:db8::1]/x", ("2001:db8::1", 443)),
    ],
)
def test_urls_are_shown_without_what_may_be_secret(url: str, shown: str, server: tuple[str, int]) -> None:
    assert shown_url(url) == shown
    assert server_of(url) == server
    attributes = client_attributes("GET", url, None, "timeout", "[2001:db8::1]:443", 0)
    assert (attributes["url.full"], attributes["network.peer.address"]) == (shown, "2001:db8::1")


def test_names_are_those_of_the_conventions() -> None:
    modules = (
        error_attributes, http_attributes, messaging_attributes, network_attributes, server_attributes, url_attributes,
    )  # fmt: skip
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    ours = {value for name, value in vars(spans).items() if name.isupper() and isinstance(value, str)}
    assert {name for name in ours if not name.startswith("carom.")} <= known
    assert messaging_attributes.MessagingOperationTypeValues.SEND.value == "send"
    assert messaging_attributes.MessagingOperationTypeValues.PROCESS.value == "process"


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    """redis and faststream import parts of the API where they find it; neither traces nor exporters nor protobuf."""
    program = """if True:
        import sys
        import carom_callback.app, carom_executor.app, carom_intake.app
        from carom_common.settings import Settings
        from carom_common.tracers import open_tracer
        assert open_tracer("executor", Settings()) is None
        loaded = {"opentelemetry.sdk.trace.export", "opentelemetry.exporter", "google.protobuf", "requests"}
        print(sorted(loaded & set(sys.modules)))
    """
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
