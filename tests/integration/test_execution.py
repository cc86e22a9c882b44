"""What the executor calls, when, and what it makes of the answer."""

import asyncio
import base64
import gzip
import itertools
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate
from typing import Any

import psutil
import pytest
from tests.support.broker import Broker
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import CLOSE, HALF, HANG, RESET, Answer, Endpoint, Received, Target, respond

from carom_common.domain.buckets import BUCKETS
from carom_common.topology import DEAD_EXECUTE_QUEUE
from carom_common.version import USER_AGENT
from devstack.services import Stack

pytestmark = pytest.mark.stack

FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}}
TEXT = {"Content-Type": "text/plain"}


def ms(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000


# What goes out


async def call(api: Api, target: Target, **fields: Any) -> Received:
    """The request that a job's target receives."""
    endpoint = target.endpoint()
    await api.submit(endpoint.url, **fields)
    return await endpoint.one()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_the_payload_is_sent_as_json(api: Api, target: Target, method: str) -> None:
    """Every method that takes a body sends the payload as JSON under application/json."""
    payloads: list[Any] = [{"a": [1, None, True], "é": "ü"}, [], "text", 0, False]
    for payload in payloads:
        received = await call(api, target, method=method, payload=payload)
        assert received.method == method
        assert received.json == payload
        assert received.header("Content-Type") == "application/json"
        assert received.header("Content-Length") == str(len(received.body))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_get_and_head_send_no_body(api: Api, target: Target, method: str) -> None:
    received = await call(api, target, method=method, payload={"a": 1})
    assert received.method == method
    assert received.body == b""
    assert [received.header(name) for name in ("Content-Type", "Content-Length", "Transfer-Encoding")] == [None] * 3


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
async def test_without_a_payload_there_is_no_body(api: Api, target: Target, method: str) -> None:
    received = await call(api, target, method=method)
    assert received.body == b""
    assert received.header("Content-Type") is None


async def test_content_type_of_the_job(api: Api, target: Target) -> None:
    """A string goes out raw under a content type that is not JSON; everything else stays JSON text."""
    for kind, payload, sent in (
        ("text/plain", 'raw "text" é\n', 'raw "text" é\n'),
        ("application/x-www-form-urlencoded", "a=1&b=2", "a=1&b=2"),
        ("text/plain", "", ""),
        ("application/json", "text", '"text"'),
        ("application/json; charset=utf-8", "text", '"text"'),
        ("application/vnd.api+json", "text", '"text"'),
        ("text/plain", {"a": 1}, '{"a": 1}'),
    ):
        received = await call(api, target, method="POST", headers={"content-type": kind}, payload=payload)
        assert received.body.decode() == sent
        assert received.header("Content-Type") == kind


async def test_headers_of_a_call(api: Api, target: Target) -> None:
    """The job's own headers, and Carom's: who calls, for which job, which attempt, and an idempotency key."""
    endpoint = target.endpoint(respond(503), respond())
    job_id = await api.submit(endpoint.url, headers={"X-One": "1", "Authorization": "Bearer t"}, **FAST)
    first, second = await endpoint.wait(2)
    for attempt, received in enumerate((first, second), start=1):
        assert received.header("User-Agent") == USER_AGENT
        assert received.header("Idempotency-Key") == job_id
        assert received.header("X-Carom-Job-Id") == job_id
        assert received.header("X-Carom-Attempt") == str(attempt)
        assert received.header("X-One") == "1"
        assert received.header("Authorization") == "Bearer t"
        assert received.header("Host") == endpoint.url.split("/")[2]


async def test_a_job_overrides_carom_s_headers(api: Api, target: Target) -> None:
    """User-Agent and Idempotency-Key of the job win, in any spelling, and come once."""
    received = await call(api, target, headers={"user-agent": "mine/1", "IDEMPOTENCY-KEY": "mine"})
    assert received.header("User-Agent") == "mine/1"
    assert received.header("Idempotency-Key") == "mine"


async def test_the_url_is_sent_as_given(api: Api, target: Target) -> None:
    """Query and escapes reach the target unchanged; the fragment stays here."""
    endpoint = target.endpoint()
    await api.submit(endpoint.url + "?q=a%20b&c=%2F&d=+#fragment")
    assert (await endpoint.one()).path.partition("?")[2] == "q=a%20b&c=%2F&d=+"


# Success, retry, failure


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
async def test_2xx_completes(api: Api, target: Target, status: int) -> None:
    endpoint = target.endpoint(respond(status))
    document = await api.wait_for_status(await api.submit(endpoint.url))
    assert (document["status"], document["attempts"], document["error"]) == ("completed", 1, "")
    assert document["response"]["status"] == status


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_transient_statuses_are_retried(api: Api, target: Target, status: int) -> None:
    endpoint = target.endpoint(respond(status), respond())
    document = await api.wait_for_status(await api.submit(endpoint.url, **FAST))
    assert (document["status"], document["attempts"]) == ("completed", 2)
    assert [entry["statusCode"] for entry in document["attemptsLog"]] == [status, 200]
    assert [entry["success"] for entry in document["attemptsLog"]] == [False, True]


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 410, 422, 451])
async def test_other_statuses_fail_at_once(api: Api, target: Target, broker: Broker, status: int) -> None:
    """Not retried: failed with the reason, called back, and no dead letter."""
    endpoint, callback = target.endpoint(respond(status)), target.endpoint()
    job_id = await api.submit(endpoint.url, callback.url, **FAST)
    result = (await callback.one()).json
    assert (result["status"], result["attempts"], result["error"]) == ("failed", 1, f"the target answered {status}")
    assert (await api.typed(job_id))["status"] == "failed"
    await broker.not_dead(DEAD_EXECUTE_QUEUE, job_id)
    assert len(endpoint.requests) == 1


async def test_retried_statuses_of_the_job(api: Api, target: Target) -> None:
    """`retry.statuses` replaces the defaults: what it names is retried, even 200's neighbours; the rest is final."""

    async def attempts(status: int, statuses: list[Any]) -> int:
        retry = {"strategy": "fixed", "statuses": statuses}
        job_id = await api.submit(target.endpoint(respond(status), respond()).url, retryDelay=100, retry=retry)
        return int((await api.wait_for_status(job_id))["attempts"])

    found = await asyncio.gather(
        attempts(404, [404]),
        attempts(404, ["4xx"]),
        attempts(503, [404]),
        attempts(503, []),
        attempts(302, ["3xx"]),
        attempts(200, ["2xx", 200]),
    )
    assert list(found) == [2, 2, 1, 1, 2, 1]


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (RESET, "connection reset by the server"),
        (CLOSE, "the server closed the connection without a response"),
        (HALF, "the body of the response is broken or incomplete"),
    ],
    ids=["reset", "close", "half"],
)
async def test_broken_connections_are_retried(api: Api, target: Target, broken: Answer, error: str) -> None:
    endpoint = target.endpoint(broken, respond())
    document = await api.wait_for_status(await api.submit(endpoint.url, method="POST", payload=1, **FAST))
    assert (document["status"], document["attempts"]) == ("completed", 2)
    first = document["attemptsLog"][0]
    assert (first["statusCode"], first["success"], first["error"]) == (None, False, error)


async def test_a_refused_connection_is_retried(api: Api, target: Target) -> None:
    """Nobody listens at first."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        job_id = await api.submit(f"http://127.0.0.1:{port}/", **FAST | {"maxRetries": 10, "retryDelay": 500})
        waiting = await api.wait_for_status(job_id, "waiting")
    assert waiting["attemptsLog"][0]["error"] == "connection refused"

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        document = await api.wait_for_status(job_id)
    assert document["status"] == "completed"


async def test_a_timeout_is_retried(api: Api, target: Target) -> None:
    """`timeout` ends a call that hangs, before or in its body; the next attempt may succeed."""
    endpoint = target.endpoint(HANG, respond())
    started = time.monotonic()
    document = await api.wait_for_status(await api.submit(endpoint.url, timeout=200, **FAST))
    assert time.monotonic() - started >= 0.3
    assert document["status"] == "completed"
    first = document["attemptsLog"][0]
    assert (first["statusCode"], first["error"]) == (None, "timed out after 200 ms")
    assert first["durationMs"] >= 190


async def test_an_unknown_host_is_retried(api: Api) -> None:
    job_id = await api.submit("http://no-such-host.invalid/", **FAST | {"maxRetries": 1})
    document = await api.wait_for_status(job_id)
    assert (document["status"], document["attempts"]) == ("failed", 2)
    assert "no-such-host.invalid" in document["error"]


# Redirects


async def test_redirects_are_not_followed(api: Api, target: Target) -> None:
    """A 3xx is a final failure that names where to; the whole URL is among the attempt's headers."""
    endpoint = target.endpoint(respond(302, location="https://elsewhere.example/there"))
    document = await api.wait_for_status(await api.submit(endpoint.url, **FAST))
    assert (document["status"], document["attempts"]) == ("failed", 1)
    assert "302" in document["error"]
    assert "to https://elsewhere.example that" in document["error"]


async def test_redirects_are_followed_when_the_job_says_so(api: Api, target: Target) -> None:
    """Up to five hops; the attempt's answer is the last one's."""
    last = target.endpoint(respond(200, {"arrived": True}))
    hop = last
    for _ in range(5):
        hop = target.endpoint(respond(307, location=hop.url))
    job_id = await api.submit(hop.url, followRedirects=True, method="POST", payload={"a": 1})
    document = await api.wait_for_status(job_id)
    assert (document["status"], document["attempts"]) == ("completed", 1)
    assert document["response"] == {"status": 200, "body": {"arrived": True}}
    assert (last.requests[0].method, last.requests[0].json) == ("POST", {"a": 1})

    one_more = target.endpoint(respond(302, location=hop.url))
    document = await api.wait_for_status(await api.submit(one_more.url, followRedirects=True, **FAST))
    assert (document["status"], document["attempts"]) == ("failed", 1)
    assert "more than 5 redirects" in document["error"]


async def test_every_hop_is_checked(api: Api, target: Target) -> None:
    """A redirect cannot lead where the job itself may not go."""
    endpoint = target.endpoint(respond(302, location="http://169.254.169.254/latest/meta-data/"))
    document = await api.wait_for_status(await api.submit(endpoint.url, followRedirects=True, **FAST))
    assert (document["status"], document["attempts"]) == ("failed", 1)
    assert document["error"] == "refused by the egress guard: 169.254.169.254 is a cloud metadata address"


# When


async def test_fixed_delays_are_met(api: Api, target: Target) -> None:
    """nextAttemptAt is the failure plus the delay, exactly, bucket or not; the retry starts not before it and, as the
    machine allows, at most 150 ms after it."""
    delays = [100, 137, 250, 333, 500, 777, 1000, 1234, 1499, 2718]
    told = 0

    async def run(delay: int) -> float:
        nonlocal told
        endpoint = target.endpoint(respond(503), respond())
        job_id = await api.submit(endpoint.url, retryDelay=delay, retry={"strategy": "fixed"})
        document = await api.wait_for_status(job_id, "waiting", "completed")
        due = ms(document["attemptsLog"][0]["timestamp"]) + delay
        if document["status"] == "waiting":
            told += 1
            assert ms(document["nextAttemptAt"]) == pytest.approx(due, abs=0.5)
        second = (await endpoint.wait(2))[1]
        return second.at * 1000 - due

    for _ in range(3):  # other tests of a busy machine may disturb one round
        late = sorted(await asyncio.gather(*map(run, delays)))
        assert late[0] >= 0, f"early by {-late[0]} ms"
        if late[-2] <= 150:
            break
    assert told > 0
    assert late[-2] <= 150, late


async def waits(api: Api, endpoint: Endpoint, logs: Logs, **fields: Any) -> list[int]:
    """Milliseconds that Carom decided to wait before each retry of a job; checks that it waited as long."""
    job_id = await api.submit(endpoint.url, **fields)
    await api.wait_for_status(job_id)
    events = await logs.wait_for(len(endpoint.requests), event="attempt", job_id=job_id)
    decided = [int(event["retry_in_ms"]) for event in events if "retry_in_ms" in event]
    times = [request.at * 1000 for request in endpoint.requests]
    waited = [second - first for first, second in itertools.pairwise(times)]
    assert all(real >= wait for real, wait in zip(waited, decided, strict=True)), (waited, decided)
    return decided


async def test_strategies(api: Api, target: Target, logs: Logs) -> None:
    """The delay doubles, grows by itself, or stays; it is rounded to a bucket and never above maxDelay."""

    async def run(strategy: str, **retry: Any) -> list[int]:
        endpoint = target.endpoint(respond(503), respond(503), respond(503), respond())
        return await waits(api, endpoint, logs, retryDelay=100, retry={"strategy": strategy, "jitter": "none"} | retry)

    exponential, linear, fixed, capped = await asyncio.gather(
        run("exponential"), run("linear"), run("fixed"), run("exponential", maxDelay=250)
    )
    assert exponential == [100, 200, 400]
    assert linear == [100, 200, 315]
    assert fixed == [100, 100, 100]
    assert capped == [100, 200, 250]


async def test_jitter(api: Api, target: Target, logs: Logs) -> None:
    """equal: the upper half of the delay; full: anything up to it; both spread, in buckets."""

    async def run(jitter: str | None) -> int:
        endpoint = target.endpoint(respond(503), respond())
        retry = {"jitter": jitter} if jitter else {}
        return (await waits(api, endpoint, logs, retryDelay=800, retry=retry))[0]

    async def many(jitter: str | None) -> set[int]:
        return set(await asyncio.gather(*(run(jitter) for _ in range(16))))

    equal, default, full, none = await asyncio.gather(many("equal"), many(None), many("full"), many("none"))
    assert none == {800}
    for upper_half in (equal, default):
        assert upper_half <= {400, 500, 630, 800}
        assert len(upper_half) > 1
    assert full <= {bucket for bucket in BUCKETS if bucket <= 800}
    assert len(full) > 1


async def test_retry_after_replaces_the_delay(api: Api, target: Target, logs: Logs) -> None:
    """In seconds or as a date, on 429 and 503; capped at maxDelay; no more than a hint where it says nothing."""

    async def run(status: int, retry_after: str, max_delay: int = 3_600_000) -> int:
        endpoint = target.endpoint(respond(status, retry_after=retry_after), respond())
        retry = {"strategy": "fixed", "maxDelay": max_delay}
        return (await waits(api, endpoint, logs, retryDelay=100, retry=retry))[0]

    in_three_seconds = datetime.now(UTC) + timedelta(seconds=3)
    date = format_datetime(in_three_seconds.replace(microsecond=0), usegmt=True)
    seconds, on_429, at_date, capped, past, zero, other_status, nonsense = await asyncio.gather(
        run(503, "1"),
        run(429, "2"),
        run(503, date),
        run(503, "3600", max_delay=300),
        run(503, formatdate(0, usegmt=True)),
        run(429, "0"),
        run(500, "3600"),
        run(503, "soon"),
    )
    assert seconds == 1000
    assert on_429 == 2000
    assert 1000 <= at_date <= 3000
    assert capped == 300
    assert past <= 1
    assert zero <= 1
    assert other_status == 100
    assert nonsense == 100


async def test_max_retries(api: Api, target: Target, broker: Broker) -> None:
    """maxRetries retries after the first attempt; then failed, dead-lettered with all attempts, and called back."""
    endpoint, callback = target.endpoint(respond(500), respond(502), respond(503)), target.endpoint()
    job_id = await api.submit(endpoint.url, callback.url, **FAST | {"maxRetries": 2})
    result = (await callback.one()).json
    error = "the target answered 503 (attempt 3 of 3)"
    assert (result["status"], result["attempts"], result["error"]) == ("failed", 3, error)
    letter = await broker.dead(DEAD_EXECUTE_QUEUE, job_id)
    assert letter.headers["reason"] == "retries spent"
    assert letter.json["jobId"] == job_id
    assert letter.json["tenant"] == "default"
    assert letter.json["version"] == 1
    assert letter.json["job"]["targetUrl"] == endpoint.url
    assert [entry["statusCode"] for entry in letter.json["attempts"]] == [500, 502, 503]
    document = await api.typed(job_id)
    assert (document["status"], document["attempts"], document["error"]) == ("failed", 3, error)
    assert len(endpoint.requests) == 3


async def test_no_retries(api: Api, target: Target, broker: Broker) -> None:
    """With maxRetries 0 a transient failure is spent at once: failed and dead-lettered."""
    endpoint = target.endpoint(respond(503))
    job_id = await api.submit(endpoint.url, maxRetries=0)
    assert (await api.wait_for_status(job_id))["status"] == "failed"
    await broker.dead(DEAD_EXECUTE_QUEUE, job_id)
    assert len(endpoint.requests) == 1


async def test_no_callback_is_wanted(api: Api, target: Target, logs: Logs) -> None:
    """callbackUrl null: the callback's status is none, before and after, and nothing is published for it."""
    endpoint = target.endpoint(respond(delay=0.3))
    job_id = await api.submit(endpoint.url)
    assert (await api.typed(job_id))["callback"]["status"] == "none"
    document = await api.wait_for_status(job_id)
    assert document["callback"] == {"status": "none", "attempts": 0, "lastError": None, "nextAttemptAt": None}
    marker = target.endpoint()
    await api.submit(target.endpoint().url, marker.url)
    await marker.one()
    assert not logs.events(event="callback", job_id=job_id)


# What comes back


def raw(body: bytes, **headers: str) -> Answer:
    return Answer(200, body, {name.replace("_", "-"): value for name, value in headers.items()})


PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
PNG_KEPT = {"base64": base64.b64encode(PNG).decode(), "contentType": "image/png"}
RESPONSES: list[tuple[str, Answer, Any]] = [
    ("object", raw(b'{"a": [1, 2]}', Content_Type="application/json"), {"a": [1, 2]}),
    ("charset", raw(b"[1]", Content_Type="application/json; charset=utf-8"), [1]),
    ("suffix", raw(b'{"t":1}', Content_Type="application/problem+json"), {"t": 1}),
    ("json null", raw(b"null", Content_Type="application/json"), None),
    ("json string", raw('"é"'.encode(), Content_Type="application/json"), "é"),
    ("no type, JSON", raw(b'{"a":1}'), {"a": 1}),
    ("no type, text", raw(b"hello"), "hello"),
    ("not JSON after all", raw(b"{oops", Content_Type="application/json"), "{oops"),
    ("two values", raw(b"1 2", Content_Type="application/json"), "1 2"),
    ("NaN", raw(b"NaN", Content_Type="application/json"), "NaN"),
    ("deep", raw(b"[" * 5000 + b"]" * 5000, Content_Type="application/json"), "[" * 5000 + "]" * 5000),
    ("text", raw("né\n".encode(), Content_Type="text/plain"), "né\n"),
    ("text that looks like JSON", raw(b'{"a":1}', Content_Type="text/plain"), '{"a":1}'),
    ("latin-1", raw(b"n\xe9", Content_Type="text/plain; charset=iso-8859-1"), "né"),
    ("html", raw(b"<p>hi</p>", Content_Type="text/html"), "<p>hi</p>"),
    (
        "image",
        raw(PNG, Content_Type="image/png"),
        {"base64": base64.b64encode(PNG).decode(), "contentType": "image/png"},
    ),
    ("bytes", raw(b"\xff\xfe"), {"base64": "//4=", "contentType": ""}),
    ("empty", raw(b"", Content_Type="application/json"), ""),
    ("gzip", raw(gzip.compress(b'{"z":1}'), Content_Type="application/json", Content_Encoding="gzip"), {"z": 1}),
]


async def test_kinds_of_responses(api: Api, target: Target) -> None:
    """JSON is kept as JSON, other text as text, the rest as base64 with its type: in documents and callback alike."""

    async def run(answer: Answer, expected: Any) -> None:
        callback = target.endpoint()
        job_id = await api.submit(target.endpoint(answer).url, callback.url)
        result = (await callback.one()).json
        typed, seed = await asyncio.gather(api.typed(job_id), api.seed(job_id))
        for shown in (
            typed["response"]["body"],
            typed["attemptsLog"][0]["response"],
            seed["lastResponse"],
            seed["attemptsLog"][0]["response"],
            result["response"]["body"],
            result["attemptsLog"][0].get("response"),
        ):
            assert shown == expected
        assert "truncated" not in typed["response"]

    outcomes = await asyncio.gather(*(run(answer, value) for _, answer, value in RESPONSES), return_exceptions=True)
    wrong = {name: str(found) for (name, _, _), found in zip(RESPONSES, outcomes, strict=True) if found is not None}
    assert not wrong


async def test_head_and_no_content(api: Api, target: Target) -> None:
    """An answer without a body completes with an empty text."""
    for method, answer in (("HEAD", respond(200, {"not": "sent"})), ("POST", respond(204))):
        document = await api.wait_for_status(await api.submit(target.endpoint(answer).url, method=method))
        assert (document["status"], document["response"]["body"]) == ("completed", "")


LIMIT = 64 * 1024


async def test_long_responses_are_cut_off(api: Api, target: Target) -> None:
    """64 KiB are kept whole; of more, the first 64 KiB as text, marked, and never half a character."""

    async def run(body: bytes, kind: str = "application/json") -> dict[str, Any]:
        callback = target.endpoint()
        job_id = await api.submit(target.endpoint(raw(body, Content_Type=kind)).url, callback.url)
        result = (await callback.one()).json
        document = await api.typed(job_id)
        assert document["status"] == "completed"
        assert document["response"] == result["response"]
        assert bool(document["attemptsLog"][0].get("truncated")) == bool(document["response"].get("truncated"))
        response: dict[str, Any] = document["response"]
        return response

    largest = b'"' + b"x" * (LIMIT - 2) + b'"'
    whole, cut, much, accents, binary = await asyncio.gather(
        run(largest),
        run(largest + b" "),
        run(b'["' + b"y" * 5_000_000 + b'"]'),
        run(b"x" + "é".encode() * LIMIT, "text/plain"),
        run(b"\xff" * (LIMIT + 1), "image/png"),
    )
    assert whole == {"status": 200, "body": "x" * (LIMIT - 2)}
    assert cut == {"status": 200, "body": largest.decode(), "truncated": True}
    assert much == {"status": 200, "body": '["' + "y" * (LIMIT - 2), "truncated": True}
    assert accents == {"status": 200, "body": "x" + "é" * (LIMIT // 2 - 1), "truncated": True}
    assert binary["truncated"] is True
    assert binary["body"] == {"base64": base64.b64encode(b"\xff" * LIMIT).decode(), "contentType": "image/png"}


async def test_a_decompression_bomb_does_not_grow_memory(api: Api, target: Target, stack: Stack) -> None:
    """300 MB in 300 KB of gzip, eight times at once: cut off at the limit, and the executor stays small."""
    bomb = raw(gzip.compress(b"b" * 300_000_000, 1), Content_Type="text/plain", Content_Encoding="gzip")
    executor = psutil.Process(stack.executor.pid)
    await api.wait_for_status(await api.submit(target.endpoint().url))
    before = executor.memory_info().rss
    jobs = [await api.submit(target.endpoint(bomb).url) for _ in range(8)]
    for document in await asyncio.gather(*map(api.wait_for_status, jobs)):
        assert document["response"] == {"status": 200, "body": "b" * LIMIT, "truncated": True}
    assert executor.memory_info().rss - before < 50_000_000


# Egress


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://10.0.0.1/", "10.0.0.1 is a private address"),
        ("http://192.168.1.1:8080/", "192.168.1.1 is a private address"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254 is a cloud metadata address"),
        ("http://100.64.0.1/", "100.64.0.1 is a carrier-grade NAT address"),
        ("http://[fe80::1]/", "fe80::1 is a link-local address"),
        ("http://[64:ff9b::a00:1]/", "64:ff9b::a00:1 is a NAT64 address"),
        ("http://[2002:a00:1::]/", "2002:a00:1:: is a 6to4 address"),
        ("http://224.0.0.1/", "224.0.0.1 is a multicast address"),
        ("http://0.0.0.0/", "0.0.0.0 is an unspecified address"),
        ("http://0x0a000001/", "10.0.0.1 is a private address"),
    ],
)
async def test_refused_addresses(api: Api, target: Target, broker: Broker, url: str, why: str) -> None:
    """A final failure that says so, called back, not dead-lettered."""
    callback = target.endpoint()
    job_id = await api.submit(url, callback.url, **FAST)
    result = (await callback.one()).json
    assert (result["status"], result["attempts"], result["response"]) == ("failed", 1, None)
    assert result["error"] == f"refused by the egress guard: {why}"
    await broker.not_dead(DEAD_EXECUTE_QUEUE, job_id)
