"""Spans of three real services at a real receiver of OTLP: one trace a job, its edges, links, attributes, no secret."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from tests.integration.conftest import ENV, Servers
from tests.support.client import Api, connected
from tests.support.collector import Collector, Got
from tests.support.intakes import keys_text
from tests.support.target import HANG, Endpoint, Target, respond
from tests.support.waiting import eventually

from carom_common.telemetry.trace import is_sampled, span_id, trace_id
from carom_intake.domain.keys import Scope, new_key
from devstack.services import Stack

pytestmark = pytest.mark.stack

TOLD = new_key("told", "told", [Scope.ADMIN])
QUIET = new_key("quiet", "quiet", [Scope.ADMIN])
FAST = {"retryDelay": 100, "retry": {"strategy": "fixed"}}
PLANT = "PLANTED" + uuid.uuid4().hex


class Traced(NamedTuple):
    stack: Stack
    collector: Collector
    told: Api
    quiet: Api


@pytest.fixture(scope="module")
async def traced(servers: Servers) -> AsyncIterator[Traced]:
    """Services that sample nothing by themselves: what is recorded is what a client asked for, and what fails."""
    servers.rabbitmq.ctl("add_vhost", "traces")
    servers.rabbitmq.ctl("set_permissions", "-p", "traces", "guest", ".*", ".*", ".*")
    directory = servers.directory / "traces"
    directory.mkdir()
    (directory / "keys.json").write_text(keys_text(TOLD, QUIET))
    async with Collector() as collector:
        env = ENV | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-token={PLANT}",
            "OTEL_TRACES_SAMPLER_ARG": "0",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "CAROM_EGRESS_RULES": '{"quiet": {"traceContext": false}}',
            "CAROM_AUTH": "keys",
            "CAROM_KEYS_FILE": str(directory / "keys.json"),
        }
        stack = Stack(f"{servers.rabbitmq.url}traces", f"{servers.redis.url}/11", log=directory, env=env)
        with stack:
            await connected(stack.intake)
            clients = [Api(stack.api), Api(stack.api)]
            for client, key in zip(clients, (TOLD, QUIET), strict=True):
                client.http.headers["Authorization"] = f"Bearer {key.token}"
            yield Traced(stack, collector, *clients)
            for client in clients:
                await client.aclose()
    servers.rabbitmq.ctl("delete_vhost", "traces")


def begun(*, sampled: bool = True) -> tuple[str, dict[str, str]]:
    """The trace id of a client, and the header that says so."""
    trace = uuid.uuid4().hex
    return trace, {"traceparent": f"00-{trace}-00f067aa0ba902b7-0{int(sampled)}"}


def with_secrets(endpoint: Endpoint) -> str:
    return f"{endpoint.url}?token={PLANT}#{PLANT}"


async def test_one_trace_from_the_client_to_the_receiver(traced: Traced, target: Target) -> None:
    trace, header = begun()
    endpoint, receiver = target.endpoint(respond(200, {"leak": PLANT})), target.endpoint(respond(200, {"leak": PLANT}))
    secrets = {"X-Api-Key": PLANT, "Cookie": PLANT}
    job = {
        "targetUrl": with_secrets(endpoint),
        "callback": {"url": with_secrets(receiver), "headers": secrets},
        "method": "POST",
        "headers": secrets,
        "payload": {"card": PLANT},
        "priority": "high",  # a normal one may come in through the queue of hosts that nobody heard from
    }
    accepted = await traced.told.post(job, header | {"X-Request-Id": PLANT, "User-Agent": PLANT})
    job_id = accepted.json()["jobId"]
    spans = await traced.collector.of_job(job_id, 9)
    found = {(span.service.removeprefix("carom-"), span.kind, span.name): span for span in spans}
    work, back = "carom.work:execute.high", "carom.work:callback.normal"
    server = found["intake", "server", "POST /api/jobs"]
    publish = found["intake", "producer", f"publish {work}"]
    wait = found["executor", "internal", "wait carom.execute.high"]
    process = found["executor", "consumer", "process carom.execute.high"]
    call = found["executor", "client", "POST"]
    result = found["executor", "producer", f"publish {back}"]
    wait_back = found["callback", "internal", "wait carom.callback"]
    process_back = found["callback", "consumer", "process carom.callback"]
    call_back = found["callback", "client", "POST"]
    assert len(spans) == len(found) == 9
    assert {span.trace for span in spans} == {trace}
    edges = {(span.span, span.parent) for span in spans}
    assert edges == {
        (server.span, "00f067aa0ba902b7"),
        (publish.span, server.span),
        (wait.span, publish.span),
        (process.span, publish.span),
        (call.span, process.span),
        (result.span, process.span),
        (wait_back.span, result.span),
        (process_back.span, result.span),
        (call_back.span, process_back.span),
    }
    assert [span.links for span in spans] == [[]] * 9
    assert not any(span.failed for span in spans)
    assert all(span.start <= span.end for span in spans)
    assert publish.start // 10**6 * 10**6 == wait.start
    assert wait.end == process.start
    assert process.events == process_back.events == ["call ended", "settled"]

    assert server.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/api/jobs",
        "http.route": "/api/jobs",
        "http.response.status_code": 202,
    }
    broker = urlsplit(traced.stack.intake.env["RABBITMQ_URL"])
    of_broker = {"server.address": broker.hostname, "server.port": broker.port}
    of_job = {"carom.job.id": job_id, "carom.tenant": "told", "messaging.message.conversation_id": job_id}
    hops = (
        (publish, wait, process, "execute.high", "carom.execute.high", "completed"),
        (result, wait_back, process_back, "callback.normal", "carom.callback", "delivered"),
    )
    for sent, waited, done, key, queue, outcome in hops:
        of_message = (
            of_job
            | of_broker
            | {
                "messaging.system": "rabbitmq",
                "messaging.message.id": sent.attributes["messaging.message.id"],
                "messaging.rabbitmq.destination.routing_key": key,
            }
        )
        assert sent.attributes == of_message | {
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": f"carom.work:{key}",
        }
        size, queued = done.attributes["messaging.message.body.size"], done.attributes["carom.wait.queue_ms"]
        taken = of_message | {
            "messaging.destination.name": queue,
            "messaging.message.body.size": size,
            "carom.generation": 1,
            "carom.attempt": 1,
            "carom.wait.delay_ms": 0,
            "carom.wait.queue_ms": queued,
        }
        assert waited.attributes == taken
        processing = {"messaging.operation.name": "process", "messaging.operation.type": "process"}
        assert done.attributes == taken | processing | {"carom.outcome": outcome}
        assert size > 100
        assert 0 <= queued <= 20_000
    port = int(target.host.partition(":")[2])
    called = {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": port,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": port,
        "http.response.status_code": 200,
    }
    assert call.attributes == called | {"url.full": endpoint.url}
    assert call_back.attributes == called | {"url.full": receiver.url}

    for who, span in (((await endpoint.one()), call), ((await receiver.one()), call_back)):
        assert who.header("traceparent") == f"00-{trace}-{span.span}-01"
    assert {resource["service.namespace"] for resource in traced.collector.resources} == {"carom"}


async def test_retries_are_spans_linked_to_the_one_before(traced: Traced, target: Target) -> None:
    trace, header = begun()
    endpoint = target.endpoint(respond(503), respond(500), respond())
    receiver = target.endpoint(respond(500), respond())
    job_id = await traced.told.submit(endpoint.url, receiver.url, request_headers=header, priority="high", **FAST)
    spans = await traced.collector.of_job(job_id, 2 + 3 * 4 + 4 + 3)
    attempts = [span for span in spans if span.name == "process carom.execute.high"]
    callbacks = [span for span in spans if span.name == "process carom.callback"]
    assert {span.trace for span in spans} == {trace}
    assert [a.attributes["carom.attempt"] for a in attempts] == [1, 2, 3]
    assert [a.attributes["carom.outcome"] for a in attempts] == ["retried", "retried", "completed"]
    assert [a.attributes.get("error.type") for a in attempts] == ["http-5xx", "http-5xx", None]
    assert [a.failed for a in attempts] == [True, True, False]
    for chain in (attempts, callbacks):
        assert chain[0].links == []
        for before, after in itertools.pairwise(chain):
            assert after.links == [(trace, before.span, "previous-attempt")]
    assert [c.attributes["carom.outcome"] for c in callbacks] == ["retried", "delivered"]
    # A retry comes of a message that the attempt before it published, with the delay that was meant.
    by_id = {span.span: span for span in spans}
    for before, after in itertools.pairwise(attempts):
        sent = by_id[after.parent]
        assert (sent.name, sent.parent) == ("publish carom.delay:execute.high.100", before.span)
        # Counted from the publish, which comes after the settle that set the time.
        assert 0 <= after.attributes["carom.wait.delay_ms"] <= before.attributes["carom.retry.delay_ms"] == 100
    keys = [span.attributes["messaging.rabbitmq.destination.routing_key"] for span in attempts]
    assert keys == ["execute.high", "execute.high.100", "execute.high.100"]
    calls = {span.parent: span for span in spans if span.kind == "client"}
    of_attempts = [calls[span.span].attributes for span in attempts]
    assert [call.get("http.request.resend_count") for call in of_attempts] == [None, 1, 2]
    assert [call.get("error.type") for call in of_attempts] == ["503", "500", None]
    assert calls[callbacks[1].span].attributes["http.request.resend_count"] == 1


async def test_a_tenant_may_keep_its_trace_to_itself(traced: Traced, target: Target) -> None:
    trace, header = begun()
    endpoint, receiver, given = target.endpoint(), target.endpoint(), target.endpoint()
    job_id = await traced.quiet.submit(endpoint.url, receiver.url, request_headers=header)
    spans = await traced.collector.of_job(job_id, 9)
    assert {span.trace for span in spans} == {trace}
    assert sum(span.kind == "client" for span in spans) == 2
    assert (await endpoint.one()).header("traceparent") is None
    assert (await receiver.one()).header("traceparent") is None
    # One that a job sets is its own affair, for whoever is called.
    own = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    for api in (traced.told, traced.quiet):
        await api.submit(given.url, headers={"Traceparent": own}, request_headers=header)
    assert [request.header("traceparent") for request in await given.wait(2)] == [own, own]


async def test_what_fails_has_spans_although_its_trace_is_not_sampled(traced: Traced, target: Target) -> None:
    trace, header = begun(sampled=False)
    endpoint, receiver = target.endpoint(respond(500), respond(500), respond()), target.endpoint()
    job_id = await traced.told.submit(endpoint.url, receiver.url, request_headers=header, **FAST)
    await traced.told.wait_for_callback(job_id, "delivered")
    after, later = begun()
    marker = await traced.told.submit(target.endpoint().url, request_headers=later)
    await traced.collector.of_job(marker, 5)
    spans = await traced.collector.of_job(job_id, 4)
    assert [(span.kind, span.failed, span.trace) for span in spans] == [
        ("consumer", True, trace),
        ("client", True, trace),
    ] * 2
    first, call, second, _ = spans
    assert (call.parent, second.links) == (first.span, [(trace, first.span, "previous-attempt")])
    sent = [request.header("traceparent") or "" for request in endpoint.requests]
    assert [trace_id(header) for header in sent] == [trace] * 3
    assert span_id(sent[0]) == call.span
    assert not any(map(is_sampled, sent))
    assert after not in {span.trace for span in spans}


async def test_a_call_that_finds_nobody(traced: Traced) -> None:
    _, header = begun(sampled=False)
    job_id = await traced.told.submit(f"http://127.0.0.1:9/x?token={PLANT}", maxRetries=0, request_headers=header)
    spans = await traced.collector.of_job(job_id, 2)
    process = next(span for span in spans if span.kind == "consumer")
    call = next(span for span in spans if span.kind == "client")
    assert (process.attributes["carom.outcome"], process.attributes["error.type"]) == ("exhausted", "connect")
    assert (call.attributes["error.type"], call.attributes["url.full"]) == ("connect", "http://127.0.0.1:9/x")
    assert "http.response.status_code" not in call.attributes


async def test_a_call_that_a_cancel_stops(traced: Traced, target: Target) -> None:
    """Whoever was called knows the span's id: it is there, and says why there is no answer."""
    trace, header = begun()
    endpoint = target.endpoint(HANG)
    job_id = await traced.told.submit(endpoint.url, timeout=20_000, maxRetries=0, request_headers=header)
    called = span_id((await endpoint.one()).header("traceparent") or "")
    assert (await traced.told.http.delete(f"/api/jobs/{job_id}")).status_code == 200
    spans = await traced.collector.of_job(job_id, 5)
    call = next(span for span in spans if span.kind == "client")
    process = next(span for span in spans if span.kind == "consumer")
    assert (call.trace, call.span, call.parent) == (trace, called, process.span)
    assert (call.failed, call.attributes["error.type"]) == (True, "cancelled")
    assert (process.failed, process.attributes["carom.outcome"]) == (False, "cancelled")


async def test_other_requests(traced: Traced) -> None:
    trace, header = begun()
    answers = [
        await traced.told.http.get(f"/api/job/{uuid.uuid4()}?x={PLANT}", headers=header),
        await traced.told.http.post("/api/jobs", content=b"{", headers=header | {"Content-Type": "application/json"}),
        await traced.told.http.get("/api/jobs", headers=header | {"Authorization": f"Bearer {PLANT}"}),
    ]
    assert [answer.status_code for answer in answers] == [404, 400, 401]

    def all_three() -> list[Got] | None:
        found = [span for span in traced.collector.spans if span.trace == trace]
        return found if len(found) == 3 else None

    spans = sorted(await eventually(all_three, "three spans"), key=lambda span: span.start)
    assert [span.attributes["http.response.status_code"] for span in spans] == [404, 400, 401]
    assert [span.name for span in spans][:2] == ["GET /api/job/{job_id}", "POST /api/jobs"]
    assert not any(span.failed for span in spans)


async def test_no_secret_is_in_any_span(traced: Traced) -> None:
    """After all that the tests above planted."""
    sent = b"".join(traced.collector.bodies)
    assert len(traced.collector.spans) > 40
    for secret in (PLANT, TOLD.token, QUIET.token, ENV["CAROM_CALLBACK_SECRET"]):
        assert secret.encode() not in sent


async def test_a_collector_that_is_away_does_no_harm(traced: Traced, target: Target) -> None:
    """Jobs go on, what is lost is counted, and nobody's end waits for it. The last test here: it ends the services."""
    await traced.collector.__aexit__(None, None, None)
    _, header = begun()
    for _ in range(5):
        job_id = await traced.told.submit(target.endpoint().url, target.endpoint().url, request_headers=header)
        await traced.told.wait_for_callback(job_id, "delivered")
    await traced.told.submit(target.endpoint().url, request_headers=header)
    began = time.monotonic()
    codes = await asyncio.to_thread(traced.stack.stop)
    assert set(codes.values()) == {0}
    assert time.monotonic() - began < 12


async def test_without_a_collector_nothing_is_added(api: Api, target: Target) -> None:
    _, header = begun()
    endpoint, receiver = target.endpoint(), target.endpoint()
    await api.submit(endpoint.url, receiver.url, request_headers=header)
    received: list[Any] = [await endpoint.one(), await receiver.one()]
    assert [request.header("traceparent") for request in received] == [None, None]
