"""`POST /api/jobs`: what is accepted, what is refused, and how Carom says so."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import Target

pytestmark = pytest.mark.stack

NOWHERE = "http://127.0.0.1:9/"
KIB = 1024
MAX_URL = 2048


def job(**fields: Any) -> dict[str, Any]:
    return {"targetUrl": NOWHERE, "callbackUrl": None, "maxRetries": 0} | fields


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in job().items() if key != name}


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Every error is a problem document that names its request."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["requestId"] == answer.headers["x-request-id"]
    return document


async def refused(api: Api, body: Any) -> dict[str, str]:
    """Pointer to detail of every problem of a body that must be a 400."""
    document = check_problem(await api.post(body), 400)
    assert document["errors"]
    return {error["pointer"]: error["detail"] for error in document["errors"]}


# Accepted


async def test_the_answer_to_a_job_is_the_seeds(api: Api, target: Target) -> None:
    """202 with exactly the seed's three fields in its order, and where the job is."""
    answer = await api.post(job(targetUrl=target.endpoint().url))
    assert answer.status_code == 202
    job_id = answer.json()["jobId"]
    assert uuid.UUID(job_id).version == 4
    assert list(answer.json().items()) == [
        ("jobId", job_id),
        ("status", "queued"),
        ("message", "Job accepted for processing"),
    ]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/api/jobs/{job_id}"
    assert (await api.http.get(answer.headers["location"])).json()["jobId"] == job_id


async def test_the_request_id_is_echoed_or_made(api: Api) -> None:
    """A client's X-Request-Id comes back; without one, or with an unusable one, Carom makes one."""
    given = await api.post(job(), {"X-Request-Id": "my-request-1"})
    assert given.headers.get_list("x-request-id") == ["my-request-1"]
    refused = check_problem(await api.post({}, {"X-Request-Id": "my-request-2"}), 400)
    assert refused["requestId"] == "my-request-2"
    made = {(await api.post(job())).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    for unusable in ("x" * 129, "with space", ""):
        answer = await api.post(job(), {"X-Request-Id": unusable})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_defaults(api: Api) -> None:
    """Fields that a job leaves out have the seed's defaults, and the issue's for Carom's own."""
    job_id = await api.submit(NOWHERE)
    shown = await api.typed(job_id)
    assert {name: shown[name] for name in ("method", "headers", "payload", "maxRetries", "retryDelay", "timeout")} == {
        "method": "GET",
        "headers": {},
        "payload": None,
        "maxRetries": 3,
        "retryDelay": 1000,
        "timeout": 30_000,
    }
    assert shown["retry"] == {
        "strategy": "exponential",
        "maxDelay": 3_600_000,
        "jitter": "equal",
        "statuses": [408, 425, 429, "5xx"],
    }
    assert shown["followRedirects"] is False
    fixed = await api.typed(await api.submit(NOWHERE, retry={"strategy": "fixed"}))
    assert fixed["retry"]["jitter"] == "none"


IN_LIMITS: list[dict[str, Any]] = [
    *({"method": method} for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")),
    {"maxRetries": 0},
    {"maxRetries": 10},
    {"retryDelay": 100},
    {"retryDelay": 30_000},
    {"timeout": 100},
    {"timeout": 300_000},
    {"headers": {}},
    {"headers": {"x": ""}},
    {"headers": {f"x-{n}": "v" for n in range(64)}},
    {"headers": {"x-big": "v" * (16_384 - 5 - 4)}},
    *({"payload": value} for value in (None, True, 0, -1.5, "text", "", [], [1, "two"], {}, {"a": {"b": None}})),
    {"payload": "é\u2028\U0001f3b1"},
    *({"retry": {"strategy": strategy}} for strategy in ("exponential", "linear", "fixed")),
    *({"retry": {"jitter": jitter}} for jitter in ("full", "equal", "none")),
    {"retry": {"maxDelay": 100}},
    {"retry": {"maxDelay": 86_400_000}},
    {"retry": {"statuses": []}},
    {"retry": {"statuses": [100, 599, "1xx", "5xx"]}},
    {"retry": {}},
    {"followRedirects": True},
    {"targetUrl": "http://127.0.0.1:9/" + "p" * (MAX_URL - 19)},
    {"targetUrl": "http://127.0.0.1:1/?q=a%20b&c=%E2%9C%93#f"},
    {"targetUrl": "http://[::1]:9/"},
    {"targetUrl": "HTTPS://LOCALHOST:9/path"},
    {"callbackUrl": "http://127.0.0.1:9/callback"},
    {"callbackUrl": None},
]


async def test_everything_within_the_limits_is_accepted(api: Api) -> None:
    answers = await asyncio.gather(*(api.post(job(**fields)) for fields in IN_LIMITS))
    wrong = [(f, a.text) for f, a in zip(IN_LIMITS, answers, strict=True) if a.status_code != 202]
    assert not wrong


# Refused


OUT_OF_LIMITS: list[tuple[dict[str, Any], str]] = [
    ({"method": "TRACE"}, "/method"),
    ({"method": "CONNECT"}, "/method"),
    ({"method": "get"}, "/method"),
    ({"method": None}, "/method"),
    ({"maxRetries": -1}, "/maxRetries"),
    ({"maxRetries": 11}, "/maxRetries"),
    ({"maxRetries": 1.5}, "/maxRetries"),
    ({"maxRetries": "3"}, "/maxRetries"),
    ({"maxRetries": True}, "/maxRetries"),
    ({"retryDelay": 99}, "/retryDelay"),
    ({"retryDelay": 30_001}, "/retryDelay"),
    ({"retryDelay": 10**30}, "/retryDelay"),
    ({"timeout": 99}, "/timeout"),
    ({"timeout": 300_001}, "/timeout"),
    ({"headers": None}, "/headers"),
    ({"headers": []}, "/headers"),
    ({"headers": "x: y"}, "/headers"),
    ({"headers": {"x": 1}}, "/headers/x"),
    ({"headers": {"x": None}}, "/headers/x"),
    ({"headers": {"x": ["a"]}}, "/headers/x"),
    ({"headers": {f"x-{n}": "v" for n in range(65)}}, "/headers"),
    ({"headers": {"x-big": "v" * (16_384 - 5 - 3)}}, "/headers"),
    ({"retry": None}, "/retry"),
    ({"retry": {"strategy": "quadratic"}}, "/retry/strategy"),
    ({"retry": {"jitter": "some"}}, "/retry/jitter"),
    ({"retry": {"maxDelay": 99}}, "/retry/maxDelay"),
    ({"retry": {"maxDelay": 86_400_001}}, "/retry/maxDelay"),
    ({"retry": {"statuses": [99]}}, "/retry/statuses/0"),
    ({"retry": {"statuses": [500, 600]}}, "/retry/statuses/1"),
    ({"retry": {"statuses": ["6xx"]}}, "/retry/statuses/0"),
    ({"retry": {"statuses": ["500"]}}, "/retry/statuses/0"),
    ({"retry": {"statuses": "5xx"}}, "/retry/statuses"),
    ({"retry": {"delay": 1}}, "/retry/delay"),
    ({"followRedirects": "yes"}, "/followRedirects"),
    ({"followRedirects": 1}, "/followRedirects"),
    ({"targetUrl": None}, "/targetUrl"),
    ({"targetUrl": 7}, "/targetUrl"),
    ({"callbackUrl": 7}, "/callbackUrl"),
    ({"callbackUrl": False}, "/callbackUrl"),
    ({"priority": "urgent"}, "/priority"),
    ({"success": {"statuses": ["600"]}}, "/success/statuses/0"),
    ({"labels": {"a b": "x"}}, "/labels/a b"),
    ({"labels": {"a": "-"}}, "/labels/a"),
    ({"delay": -1}, "/delay"),
    ({"delay": 5, "runAt": "2020-01-01T00:00:00Z"}, "/delay"),
    ({"runAt": "tomorrow"}, "/runAt"),
    ({"expiresAt": "2020-01-01T00:00:00Z"}, "/expiresAt"),
    ({"ttl": 1000, "delay": 2000}, "/ttl"),
    ({"callback": {"url": "http://127.0.0.1:9/", "events": ["done"]}}, "/callback/events/0"),
    ({"callback": {"url": "http://127.0.0.1:9/"}}, "/callback"),
    ({"target_url": NOWHERE}, "/target_url"),
    ({"a/b~c": 1}, "/a~1b~0c"),
]


async def test_everything_beyond_the_limits_is_refused_by_name(api: Api) -> None:
    """400 with the JSON pointer of the one thing that is wrong."""
    found = await asyncio.gather(*(refused(api, job(**fields)) for fields, _ in OUT_OF_LIMITS))
    assert [list(problems) for problems in found] == [[pointer] for _, pointer in OUT_OF_LIMITS]


BAD_URLS = [
    "",
    "example.com",
    "/path",
    "//example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://",
    "http:///path",
    "http://:80/",
    "http://exa mple.com/",
    "http://example.com/a b",
    "http://example.com/\n",
    "http://example.com/\x00",
    "http://example.com\\@evil.example/",
    "http://user:password@example.com/",
    "http://user@example.com/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:port/",
    "http://[::1/",
    "http://[nonsense]/",
    "http://127.0.0.1:9/" + "p" * (MAX_URL - 18),
]


@pytest.mark.parametrize("field", ["targetUrl", "callbackUrl"])
async def test_bad_urls_are_refused(api: Api, field: str) -> None:
    """Only absolute http and https URLs of at most 2048 characters, without credentials and control characters."""
    found = await asyncio.gather(*(refused(api, job(**{field: url})) for url in BAD_URLS))
    assert [list(problems) for problems in found] == [[f"/{field}"]] * len(BAD_URLS)


BAD_HEADERS: list[tuple[str, str]] = [
    ("", "v"),
    ("a b", "v"),
    ("a:b", "v"),
    ("ä", "v"),
    ("a\nb", "v"),
    ("x", "a\r\nevil: yes"),
    ("x", "a\nb"),
    ("x", "a\x00b"),
    ("x", "\x7f"),
    *((name, "v") for name in ("Host", "content-length", "Transfer-Encoding", "CONNECTION", "Upgrade", "TE")),
    *((name, "v") for name in ("Trailer", "Expect", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection")),
    ("X-Carom-Job-Id", "v"),
    ("x-carom-anything", "v"),
]


async def test_bad_header_names_and_values_are_refused(api: Api) -> None:
    """No token, no field value, or not the job's to set: refused with the header's pointer."""
    found = await asyncio.gather(*(refused(api, job(headers={name: value})) for name, value in BAD_HEADERS))
    assert [list(problems) for problems in found] == [[f"/headers/{name}"] for name, _ in BAD_HEADERS]
    twice = await refused(api, job(headers={"Accept": "a", "ACCEPT": "b"}))
    assert list(twice) == ["/headers/ACCEPT"]


async def test_required_fields(api: Api) -> None:
    """targetUrl is required, and so is callbackUrl, which only an explicit null waives."""
    assert await refused(api, without("targetUrl")) == {"/targetUrl": "is required"}
    assert (await refused(api, without("callbackUrl")))["/callbackUrl"].startswith("is required")
    assert (await api.post(job(callbackUrl=None))).status_code == 202


async def test_all_problems_come_at_once(api: Api) -> None:
    """One answer tells everything that is wrong, each with its pointer."""
    problems = await refused(
        api,
        {
            "targetUrl": "ftp://x/",
            "method": "FETCH",
            "headers": {"bad name": "v", "x": 1},
            "maxRetries": 99,
            "retryDelay": "soon",
            "retry": {"strategy": "none", "statuses": [700]},
            "nonsense": True,
        },
    )
    assert set(problems) == {
        "/targetUrl",
        "/callbackUrl",
        "/method",
        "/headers/bad name",
        "/headers/x",
        "/maxRetries",
        "/retryDelay",
        "/retry/strategy",
        "/retry/statuses/0",
        "/nonsense",
    }
    assert "unknown field" in problems["/nonsense"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"targetUrl": }',
        b'{"targetUrl": "http://a/",}',
        b"{'targetUrl': 'http://a/'}",
        b"[]",
        b"null",
        b'"text"',
        b"12",
        b'{"targetUrl": NaN}',
        b"\xff\xfe{}",
        b'{"targetUrl":"http://a/","callbackUrl":null,"payload":"\xff"}',
        b'{"targetUrl":"http://a/","callbackUrl":null,"payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"targetUrl":"http://a/","callbackUrl":null,"payload":' + b"[" * 1000 + b"}",
        b'{"targetUrl":"http://a/","callbackUrl":null} trailing',
        b'\xef\xbb\xbf{"targetUrl":"http://a/","callbackUrl":null}',
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_a_body_that_is_no_json_object_is_refused(api: Api, body: bytes) -> None:
    """Malformed JSON, invalid UTF-8, endless nesting and non-objects: 400 at the root."""
    assert list(await refused(api, body)) == [""]


async def test_unpaired_surrogates_do_not_break_anything(api: Api) -> None:
    """A lone surrogate is legal JSON text and no Unicode: refused, or kept in a document that can still be read."""
    answer = await api.post(b'{"targetUrl":"http://127.0.0.1:9/","callbackUrl":null,"payload":"\\ud800"}')
    if answer.status_code == 202:
        json.loads((await api.http.get(answer.headers["location"])).text)
    else:
        check_problem(answer, 400)


async def test_content_types(api: Api) -> None:
    """JSON in any of its names is taken; everything else is 415."""
    for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON", "application/job+json"):
        assert (await api.post(job(), {"Content-Type": kind})).status_code == 202
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", ""):
        check_problem(await api.post(job(), {"Content-Type": kind}), 415)


async def test_unknown_paths_and_methods(api: Api) -> None:
    """404 for what is not there; 405 with Allow for what cannot be done."""
    for path in ("/", "/api", "/api/jobs/", "/api/job", f"/api/job/{uuid.uuid4()}", f"/api/jobs/{uuid.uuid4()}"):
        check_problem(await api.http.get(path), 404)
    for path in ("/api/job/nonsense", "/api/jobs/%7Bx%7D", "/api/jobs/" + "0" * 5000, f"/api/job/{uuid.uuid4()}x"):
        check_problem(await api.http.get(path), 404)
    for method, path, allowed in (
        ("DELETE", "/api/jobs", {"GET", "HEAD", "POST"}),
        ("PATCH", f"/api/jobs/{uuid.uuid4()}", {"DELETE", "GET", "HEAD"}),
        ("PUT", f"/api/job/{uuid.uuid4()}", {"GET", "HEAD"}),
    ):
        answer = await api.http.request(method, path)
        check_problem(answer, 405)
        assert set(answer.headers["allow"].replace(" ", "").split(",")) == allowed


async def test_the_admin_port_is_apart(api: Api) -> None:
    """Probes and metrics are not on the port that an ingress reaches."""
    for path in ("/metrics", "/livez", "/readyz"):
        check_problem(await api.http.get(path), 404)


async def test_payload_limit(api: Api) -> None:
    """A payload of 256 KiB of JSON is taken, one byte more is 413 and the limit named."""
    largest = "x" * (256 * KIB - 2)
    assert (await api.post(job(payload=largest))).status_code == 202
    document = check_problem(await api.post(job(payload=largest + "x")), 413)
    assert "262144" in document["detail"]
    assert "payload" in document["detail"]


async def test_body_limit(api: Api) -> None:
    """A body of 384 KiB is taken (here mostly spaces), one byte more is 413 and the limit named, chunked or not."""
    text = json.dumps(job()).encode()
    largest = text + b" " * (384 * KIB - len(text))
    assert (await api.post(largest)).status_code == 202
    assert (await api.post(chunked(largest))).status_code == 202
    for too_large in (largest + b" ", chunked(largest + b" "), chunked(b"x" * 4 * 1024 * KIB)):
        document = check_problem(await api.post(too_large), 413)
        assert "393216" in document["detail"]


async def chunked(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


async def test_nothing_is_published_or_recorded_for_a_refused_job(api: Api, target: Target, logs: Logs) -> None:
    """A refused job makes no call, no message and no record."""
    endpoint = target.endpoint()
    bad = job(targetUrl=endpoint.url, callbackUrl=endpoint.url, maxRetries=99)
    good = job(targetUrl=endpoint.url, headers={"x-marker": "last"})
    accepted_before = len(logs.events(event="job_accepted"))
    for headers in ({}, {"Content-Type": "text/plain"}):
        assert (await api.post(bad, headers)).status_code in (400, 415)
    assert (await api.post(job(targetUrl=endpoint.url, payload="x" * 300_000))).status_code == 413
    accepted = await api.post(good)
    # The last job went the whole way: whatever was published before it would have come before it.
    await api.wait_for_status(accepted.json()["jobId"])
    assert [request.header("x-marker") for request in endpoint.requests] == ["last"]
    assert len(await logs.wait_for(accepted_before + 1, event="job_accepted")) == accepted_before + 1
