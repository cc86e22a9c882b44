"""Requests that come too slowly, or are too large, on raw connections: they are cut off, and others do not notice."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

import pytest
import uvicorn
from starlette import types
from tests.integration.conftest import ENV, Servers
from tests.support.intakes import Intakes, intakes
from tests.support.waiting import eventually

from carom_common import runtime
from carom_common.admin import EmbeddedServer
from carom_intake import sse
from carom_intake.domain.keys import Scope, new_key
from carom_intake.protocol import MAX_HEAD, MAX_HEADERS, MAX_URL, bounded
from devstack.services import Stack

pytestmark = pytest.mark.stack

ADMIN = new_key("admin", "default", [Scope.ADMIN])
HEAD_SECONDS, BODY_SECONDS = 1.0, 2.0
AUTHORIZED = f"Host: a\r\nAuthorization: Bearer {ADMIN.token}\r\n".encode()
JSON = AUTHORIZED + b"Content-Type: application/json\r\n"
OPENED = b"POST /api/jobs HTTP/1.1\r\n" + JSON
MANY = 200


@pytest.fixture(scope="module")
async def one(stack: Stack, servers: Servers) -> AsyncIterator[Intakes]:
    env = ENV | {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}
    env |= {"CAROM_HEAD_TIMEOUT": str(HEAD_SECONDS), "CAROM_BODY_TIMEOUT": str(BODY_SECONDS)}
    async with intakes(servers.directory / "slow", env, ADMIN) as started:
        yield started


Said = tuple[int, dict[str, str], bytes, float]


async def say(one: Intakes, parts: Iterable[bytes], every: float = 0.0, within: float = 10.0) -> tuple[bytes, float]:
    """Send the parts, one every so often; all that came back until the other side closed, and after how long."""
    # No streams: they lose what came when a write fails, and who is cut off is in the middle of one.
    loop, connection = asyncio.get_running_loop(), socket.create_connection(("127.0.0.1", one.services[0].port))
    connection.setblocking(False)
    begun = time.monotonic()

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                await loop.sock_sendall(connection, part)
                await asyncio.sleep(every)

    sending = asyncio.create_task(send())
    answer = b""
    try:
        async with asyncio.timeout(within):
            while chunk := await loop.sock_recv(connection, 65_536):
                answer += chunk
    except ConnectionError:
        pass
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        connection.close()
    return answer, time.monotonic() - begun


def problem(answer: bytes, status: int) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:300]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"content-type: application/problem+json" in head.lower()
    assert b"connection: close" in head.lower()
    document: dict[str, Any] = json.loads(body)
    assert document["status"] == status
    assert document["requestId"].encode() in head
    return document


def for_ever(part: bytes) -> Iterable[bytes]:
    while True:
        yield part


def after(first: bytes, *more: Iterable[bytes]) -> Iterable[bytes]:
    yield first
    for parts in more:
        yield from parts


# Slow


async def test_nothing_at_all_is_not_waited_for(one: Intakes) -> None:
    answer, seconds = await say(one, [])
    assert answer == b""
    assert HEAD_SECONDS * 0.9 < seconds < HEAD_SECONDS + 1


@pytest.mark.parametrize(
    "first",
    [b"GET /", b"GET /api/jobs HTTP/1.1\r\n", b"GET /api/jobs HTTP/1.1\r\nHost: a\r\nX-A: "],
    ids=["url", "line", "name"],
)
async def test_a_head_that_trickles_in_is_cut_off(one: Intakes, first: bytes) -> None:
    """However lively it is: a byte every 50 ms is no progress."""
    answer, seconds = await say(one, after(first, for_ever(b"a")), 0.05)
    problem(answer, 408)
    assert HEAD_SECONDS * 0.9 < seconds < HEAD_SECONDS + 1


async def test_so_is_that_of_a_second_request(one: Intakes) -> None:
    first = b"GET /docs HTTP/1.1\r\nHost: a\r\nX-Request-Id: first\r\n\r\n"
    answer, seconds = await say(one, after(first + b"GET / HTTP/1.1\r\nX-A: ", for_ever(b"a")), 0.05)
    whole, _, rest = answer.partition(b"HTTP/1.1 408")
    assert whole.startswith(b"HTTP/1.1 200")
    problem(b"HTTP/1.1 408" + rest, 408)
    assert seconds < HEAD_SECONDS + 1.5


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("path", [b"/api/jobs", b"/api/jobs/batch", b"/api/keys"])
async def test_a_body_that_trickles_in_is_cut_off(one: Intakes, framing: bytes, path: bytes) -> None:
    part = b"{" if b"Length" in framing else b"1\r\n{\r\n"
    answer, seconds = await say(one, after(b"POST " + path + b" HTTP/1.1\r\n" + JSON + framing, for_ever(part)), 0.1)
    problem(answer, 408)
    assert BODY_SECONDS * 0.9 < seconds < BODY_SECONDS + 1.5


async def test_an_upload_after_the_answer_is_cut_off(one: Intakes) -> None:
    """Who has no key is told so at once, and then has as long as a body may take; there is no second answer."""
    head = b"POST /api/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
    answer, seconds = await say(one, after(head, for_ever(b"x" * 1000)), 0.05)
    assert answer.startswith(b"HTTP/1.1 401")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert seconds < BODY_SECONDS + 1.5


async def test_many_slow_clients_keep_nobody_out(one: Intakes) -> None:
    """Two hundred that trickle, all cut off in time, while another one is served as ever."""
    started = [asyncio.create_task(say(one, after(b"GET / HTTP/1.1\r\n", for_ever(b"a")), 0.2)) for _ in range(MANY)]
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    assert (await one.api(ADMIN.token).http.get("/api/jobs/x")).status_code == 404
    assert time.monotonic() - begun < 1
    for answer, seconds in await asyncio.gather(*started):
        problem(answer, 408)
        assert seconds < HEAD_SECONDS + 3


async def test_who_sends_as_fast_as_it_can_is_not_cut_off(one: Intakes) -> None:
    """A body in pieces within the time; and a wait for a result outlasts both deadlines."""
    body = json.dumps({"targetUrl": "http://127.0.0.1:59999/", "callbackUrl": None, "delay": 60_000}).encode()
    head = OPENED + f"Content-Length: {len(body)}\r\nPrefer: wait=3\r\nConnection: close\r\n\r\n".encode()
    answer, seconds = await say(one, after(head, (body[n : n + 10] for n in range(0, len(body), 10))), 0.05)
    assert answer.startswith(b"HTTP/1.1 202"), answer
    assert seconds > 3


# Large


async def test_a_long_url_is_refused(one: Intakes) -> None:
    line = b"GET /api/jobs/" + b"a" * MAX_URL + b" HTTP/1.1\r\n" + AUTHORIZED + b"\r\n"
    assert str(MAX_URL) in problem((await say(one, [line]))[0], 414)["detail"]
    room = MAX_URL - len(b"/api/jobs/")
    fits = b"GET /api/jobs/" + b"a" * room + b" HTTP/1.1\r\n" + AUTHORIZED + b"Connection: close\r\n\r\n"
    assert (await say(one, [fits]))[0].startswith(b"HTTP/1.1 404")


async def test_large_and_many_headers_are_refused(one: Intakes) -> None:
    first = b"GET /api/jobs HTTP/1.1\r\n" + AUTHORIZED
    many = b"".join(b"X-%d: 1\r\n" % n for n in range(MAX_HEADERS))
    large = b"X-Large: " + b"a" * MAX_HEAD + b"\r\n"
    for headers in (many, large):
        problem((await say(one, [first + headers + b"\r\n"]))[0], 431)
    fits = b"".join(b"X-%d: 1\r\n" % n for n in range(MAX_HEADERS - 3)) + b"Connection: close\r\n"
    assert (await say(one, [first + fits + b"\r\n"]))[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "first", [b"GET /", b"GET / HTTP/1.1\r\nX-A: ", b"GET / HTTP/1.1\r\nX-"], ids=["url", "value", "name"]
)
async def test_a_head_without_end_is_not_kept(one: Intakes, first: bytes) -> None:
    """httptools would keep all of it; it is refused long before the deadline."""
    answer, seconds = await say(one, after(first, for_ever(b"a" * 4096)), 0.001)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] in (414, 431)
    assert seconds < HEAD_SECONDS


async def test_a_body_over_the_limit_is_refused_while_it_comes(one: Intakes) -> None:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer, _ = await say(one, after(OPENED + b"Transfer-Encoding: chunked\r\n\r\n", for_ever(chunk)))
    problem(answer, 413)


async def test_what_is_no_http_is_a_problem_too(one: Intakes) -> None:
    for text in (
        b"\x16\x03\x01\x00\xa5\x01\x00",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    ):
        problem((await say(one, [text]))[0], 400)


async def test_deep_json_is_refused(one: Intakes) -> None:
    for path in ("/api/jobs", "/api/keys", "/api/pause", "/api/jobs/batch", "/api/jobs/cancel"):
        body = b'{"payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        headers = {"Content-Type": "application/json"}
        answer = await one.api(ADMIN.token).http.post(path, content=body, headers=headers)
        assert answer.status_code in (400, 413), (path, answer.text)


async def test_who_takes_nothing_of_an_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that gave up leaves its connection to the transport, which would wait for ever to send the rest."""
    monkeypatch.setattr(runtime, "TAKES_NOTHING_MS", 1000)
    monkeypatch.setattr(sse, "SEND_SECONDS", 0.2)

    async def without_end() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x" * 100_000

    async def app(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        await sse.EventStream(b"head", without_end(), contextlib.AsyncExitStack())(scope, receive, send)

    listener = runtime.listen("127.0.0.1", 0, "the test")
    server = EmbeddedServer(uvicorn.Config(app, log_config=None, lifespan="off", http=bounded(5, 5), ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(listener.getsockname())
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await eventually(lambda: server.server_state.connections, "the connection", 5)
            await eventually(lambda: not server.server_state.connections, "the end of it", 15, 0.1)
    finally:
        server.should_exit = True
        await serving
