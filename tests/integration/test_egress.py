"""The guarded egress against real listeners on the loopback interface."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from carom_common.adapters.egress import EgressClient, EgressError, GuardedTransport, OutboundRequest, OutboundResponse
from carom_common.adapters.egress.errors import AddressRefused
from carom_common.adapters.egress.guard import Guard
from carom_common.contracts.message import Timing
from carom_common.domain.address_policy import AddressPolicy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 64 * 1024

Answer = bytes | Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request on a connection with the next answer (the last one again and again)."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [OK]
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(self.requests[-1], writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(*answers)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def egress(
    *allow: str, deny: tuple[str, ...] = (), limit: int = LIMIT, seam: bool = False
) -> AsyncIterator[EgressClient]:
    transport: httpx.AsyncBaseTransport = GuardedTransport(AddressPolicy.parse(allow, deny))
    client = EgressClient(Delegate(transport) if seam else transport, max_response_bytes=limit)
    try:
        yield client
    finally:
        await client.close()


class Delegate(httpx.AsyncBaseTransport):
    """An extension's transport: not a GuardedTransport, so the client takes it for any other."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def get(client: EgressClient, url: str, timeout: float = 5.0, **fields: object) -> OutboundResponse:
    request = OutboundRequest("GET", url, {}, None, timeout)
    for name, value in fields.items():
        setattr(request, name, value)
    return await client.send(request)


async def failure(client: EgressClient, url: str, timeout: float = 5.0, **fields: object) -> EgressError:
    with pytest.raises(EgressError) as caught:
        await get(client, url, timeout, **fields)
    return caught.value


def response(body: bytes, *headers: str) -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


def redirect(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


both = pytest.mark.parametrize("seam", [False, True], ids=["open", "httpx"])


# --- the guard -----------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_the_loopback_is_refused_by_every_name(host: str, seam: bool) -> None:
    async with listening() as server, egress(seam=seam) as client:
        error = await failure(client, f"http://{host}:{server.port}/")
        assert error.reason == "refused"
        assert not error.retryable
        assert str(error).startswith("refused by the egress guard: ")
        assert server.connections == 0


async def test_the_refusal_says_why() -> None:
    async with egress() as client:
        error = await failure(client, "http://127.0.0.1/")
        assert str(error) == "refused by the egress guard: 127.0.0.1 is a loopback address"


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "[fe80::1%25eth0]", "[::7f00:1]"]
)
async def test_odd_spellings_of_addresses_do_not_pass(host: str) -> None:
    async with listening() as server, egress() as client:
        error = await failure(client, f"http://{host}:{server.port}/")
        assert error.reason in {"refused", "invalid-url", "dns"}
        assert server.connections == 0


async def test_an_allowed_network_opens_and_a_denied_one_closes() -> None:
    async with listening() as server:
        async with egress("127.0.0.0/8") as client:
            assert (await get(client, server.url)).body == b"ok"
        async with egress("127.0.0.0/8", deny=("127.0.0.1",)) as client:
            assert (await failure(client, server.url)).reason == "refused"


@both
async def test_an_allowed_host_name_opens_only_that_name(seam: bool) -> None:
    """Also with many calls sharing one DNS lookup, with cached answers, and after a refusal."""
    async with listening() as server, egress("LocalHost.", seam=seam) as client:
        url = f"http://localhost:{server.port}/"
        first = await asyncio.gather(*(get(client, url) for _ in range(20)))
        again = await asyncio.gather(*(get(client, url) for _ in range(40)))
        assert {answer.body for answer in first + again} == {b"ok"}
        assert (await failure(client, server.url)).reason == "refused"
        results = await asyncio.gather(*(get(client, url), failure(client, server.url), get(client, url)))
        assert isinstance(results[1], EgressError)
        assert results[1].reason == "refused"


async def test_a_denied_network_wins_over_an_allowed_host_name() -> None:
    async with listening() as server, egress("localhost", deny=("127.0.0.0/8", "::1")) as client:
        assert (await failure(client, f"http://localhost:{server.port}/")).reason == "refused"


async def test_a_denied_host_name_is_refused_before_it_is_looked_up() -> None:
    async with egress("127.0.0.0/8", deny=("*.invalid",)) as client:
        error = await failure(client, "http://a.invalid/")
        assert str(error) == "refused by the egress guard: a.invalid is denied by configuration"


async def test_refused_addresses_are_dropped_from_a_mixed_answer() -> None:
    guard = Guard(AddressPolicy.parse(["127.0.0.0/8"], []))
    found = await guard.resolve("localhost", 80)
    assert {result["host"] for result in found} == {"127.0.0.1"}
    with pytest.raises(AddressRefused):
        await Guard(AddressPolicy.parse([], [])).resolve("localhost", 80)


@both
async def test_a_redirect_to_a_refused_address_is_refused(seam: bool) -> None:
    async with (
        listening() as secret,
        listening(redirect(302, f"http://127.0.0.1:{secret.port}/")) as server,
        egress("localhost", seam=seam) as client,
    ):
        error = await failure(client, f"http://localhost:{server.port}/", follow_redirects=True)
        assert error.reason == "refused"
        assert secret.connections == 0


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://u:p@127.0.0.1/", "http://[/"]
)
async def test_a_redirect_to_anything_but_plain_http_is_refused(location: str) -> None:
    async with listening(redirect(302, location)) as server, egress("127.0.0.0/8") as client:
        assert (await failure(client, server.url, follow_redirects=True)).reason == "invalid-url"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "//x/",
        "x",
        "",
        "http://",
        "http://u:p@x/",
        "http://u@x/",
        "http://x:99999/",
        "http://x/\r\nA: b",
        "http://a b/",
    ],
)
async def test_a_url_that_is_not_plain_http_is_invalid(url: str) -> None:
    async with egress() as client:
        error = await failure(client, url)
        assert error.reason == "invalid-url"
        assert not error.retryable
        assert "u:p" not in str(error)


# --- what is sent --------------------------------------------------------------------------------------------------


async def test_the_request_carries_only_what_the_caller_gave() -> None:
    async with listening() as server, egress("127.0.0.0/8") as client:
        await client.send(OutboundRequest("POST", f"{server.url}/a%2Fb/../c?x=%41&y=1+2", {"X-One": "1"}, b"hello", 5))
        assert server.requests == [
            f"POST /a%2Fb/../c?x=%41&y=1+2 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-One: 1\r\n"
            "Accept-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello".encode()
        ]


async def test_a_url_with_other_characters_is_quoted() -> None:
    async with listening() as server, egress("127.0.0.0/8") as client:
        await get(client, f"{server.url}/ü b?q=|")
        assert server.requests[0].startswith(b"GET /%C3%BC%20b?q=%7C HTTP/1.1\r\n")


async def test_the_caller_cannot_set_the_framing() -> None:
    """A Content-Length of the caller's would shift the next request on the same connection."""
    async with listening() as server, egress("127.0.0.0/8") as client:
        headers = {
            "content-length": "1",
            "Transfer-Encoding": "chunked",
            "Connection": "upgrade",
            "Upgrade": "x",
            "A": "b",
        }
        await client.send(OutboundRequest("POST", server.url, headers, b"hello", 5))
        head = server.requests[0].lower()
        assert head.endswith(b"\r\n\r\nhello")
        assert b"content-length: 5\r\n" in head
        assert b"a: b\r\n" in head
        assert not any(word in head for word in (b"chunked", b"upgrade"))


async def test_a_header_with_a_line_break_is_not_sent() -> None:
    async with listening() as server, egress("127.0.0.0/8") as client:
        error = await failure(client, server.url, headers={"X": "a\r\nY: b"})
        assert error.reason == "protocol"
        assert server.requests == []


async def test_the_callers_accept_encoding_is_kept() -> None:
    async with listening() as server, egress("127.0.0.0/8") as client:
        await get(client, server.url, headers={"accept-encoding": "br"})
        assert b"identity" not in server.requests[0]


async def test_no_cookies_are_kept_between_calls() -> None:
    async with listening(response(b"", "Set-Cookie: a=b; Path=/")) as server, egress("127.0.0.0/8") as client:
        await get(client, server.url)
        await get(client, server.url)
        assert b"cookie" not in server.requests[1].lower()


async def test_proxies_and_credentials_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with listening() as server, egress("127.0.0.0/8") as client:
        assert (await get(client, server.url)).body == b"ok"
        assert b"authorization" not in server.requests[0].lower()


async def test_a_connection_is_used_again() -> None:
    async with listening() as server, egress("127.0.0.0/8") as client:
        for _ in range(5):
            await client.send(OutboundRequest("POST", server.url, {}, b"x", 5))
        assert server.connections == 1


# --- what comes back -----------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("status", [200, 204, 302, 304, 404, 503])
async def test_any_status_is_a_response(status: int, seam: bool) -> None:
    head = f"HTTP/1.1 {status} X\r\nX-A: b\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode()
    async with listening(head) as server, egress("127.0.0.0/8", seam=seam) as client:
        answer = await get(client, server.url)
        assert (answer.status, answer.body, answer.truncated, answer.headers["x-a"]) == (status, b"", False, "b")


@both
async def test_a_body_at_the_limit_is_whole_and_one_byte_more_is_cut_and_closes_the_connection(seam: bool) -> None:
    async with (
        listening(response(b"x" * 1000), response(b"x" * 1001), OK) as server,
        egress("127.0.0.0/8", limit=1000, seam=seam) as client,
    ):
        whole = await get(client, server.url)
        assert (len(whole.body), whole.truncated) == (1000, False)
        cut = await get(client, server.url)
        assert (len(cut.body), cut.truncated) == (1000, True)
        await get(client, server.url)


async def test_an_endless_body_is_cut_and_not_drained() -> None:
    async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with listening(flood, OK) as server, egress("127.0.0.0/8") as client:
        answer = await get(client, server.url)
        assert (len(answer.body), answer.truncated) == (LIMIT, True)
        assert (await get(client, server.url)).body == b"ok"
        assert server.connections == 2


@both
@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("gzip", gzip.compress(b"hello" * 100)),
        ("X-GZip", gzip.compress(b"hello" * 60) + gzip.compress(b"hello" * 40)),
        ("deflate", zlib.compress(b"hello" * 100)),
        ("deflate", zlib.compress(b"hello" * 100)[2:-4]),
    ],
)
async def test_gzip_and_both_kinds_of_deflate_are_decoded(encoding: str, encoded: bytes, seam: bool) -> None:
    answer = response(encoded, f"Content-Encoding: {encoding}")
    async with listening(answer) as server, egress("127.0.0.0/8", seam=seam) as client:
        got = await get(client, server.url)
        assert (got.body, got.truncated) == (b"hello" * 100, False)


async def test_members_of_a_gzip_body_may_be_split_anywhere() -> None:
    whole = gzip.compress(b"hello") + gzip.compress(b" world")

    async def bytewise(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(whole)}\r\n\r\n".encode())
        for index in range(len(whole)):
            writer.write(whole[index : index + 1])
            await writer.drain()
            await asyncio.sleep(0.001)

    async with listening(bytewise) as server, egress("127.0.0.0/8") as client:
        assert (await get(client, server.url)).body == b"hello world"


async def test_endless_padding_after_a_compressed_body_is_neither_kept_nor_read() -> None:
    async def pad(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello"))
        while True:
            writer.write(bytes(10_000))
            await writer.drain()

    async with listening(pad) as server, egress("127.0.0.0/8") as client:
        answer = await get(client, server.url)
        assert (answer.body, answer.truncated) == (b"hello", False)


async def test_endless_empty_members_are_a_protocol_error() -> None:
    many = response(gzip.compress(b"") * 2000, "Content-Encoding: gzip")
    async with listening(many) as server, egress("127.0.0.0/8") as client:
        assert (await failure(client, server.url)).reason == "protocol"


async def test_an_unasked_for_upgrade_does_not_leave_its_connection_in_the_pool() -> None:
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    async with listening(upgrade, OK) as server, egress("127.0.0.0/8") as client:
        assert (await get(client, server.url)).status == 101
        assert (await get(client, server.url)).body == b"ok"
        assert server.connections == 2


async def test_an_error_shows_nothing_of_the_request_even_in_a_traceback() -> None:
    async with listening(b"nonsense\r\n\r\n") as server, egress("127.0.0.0/8") as client:
        error = await failure(client, f"{server.url}/?key=secret", headers={"Authorization": "secret"})
        assert "secret" not in "".join(traceback.format_exception(error, limit=0))


async def test_an_unknown_encoding_stays_as_it_is() -> None:
    async with listening(response(b"raw", "Content-Encoding: br")) as server, egress("127.0.0.0/8") as client:
        assert (await get(client, server.url)).body == b"raw"


async def test_a_compressed_body_may_be_empty() -> None:
    async with listening(response(b"", "Content-Encoding: gzip")) as server, egress("127.0.0.0/8") as client:
        assert (await get(client, server.url)).body == b""


@pytest.mark.parametrize("encoded", [b"\x1f\x8bnot gzip at all", gzip.compress(b"hello" * 100)[:-9]])
async def test_a_broken_compressed_body_is_a_protocol_error(encoded: bytes) -> None:
    async with listening(response(encoded, "Content-Encoding: gzip")) as server, egress("127.0.0.0/8") as client:
        error = await failure(client, server.url)
        assert (error.reason, error.retryable) == ("protocol", True)


async def test_a_compression_bomb_costs_no_memory() -> None:
    """100 MB of zeros in 100 kB."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    async with listening(response(bomb, "Content-Encoding: gzip")) as server, egress("127.0.0.0/8") as client:
        tracemalloc.start()
        try:
            answer = await get(client, server.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (answer.body, answer.truncated) == (bytes(LIMIT), True)
        assert peak < 2_000_000


async def test_header_bytes_that_are_not_utf8_become_latin1() -> None:
    """Lone surrogates, which aiohttp makes of them, could not be written as JSON."""
    head = b"HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\nX-B: caf\xc3\xa9\r\nContent-Length: 0\r\n\r\n"
    async with listening(head) as server, egress("127.0.0.0/8") as client:
        answer = await get(client, server.url)
        assert (answer.headers["x-a"], answer.headers["X-B"]) == ("café", "café")


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    ],
)
@both
async def test_what_is_not_http_is_a_protocol_error(answer: bytes, seam: bool) -> None:
    async with listening(answer) as server, egress("127.0.0.0/8", seam=seam) as client:
        error = await failure(client, server.url)
        assert (error.reason, error.retryable) == ("protocol", True)


async def test_headers_that_are_too_large_are_named() -> None:
    async with listening(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000) as server, egress("127.0.0.0/8") as client:
        assert str(await failure(client, server.url)) == "the headers of the response are too large"


@both
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
async def test_a_connection_closed_too_early_is_a_protocol_error(answer: bytes, seam: bool) -> None:
    async def hang_up(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with listening(hang_up) as server, egress("127.0.0.0/8", seam=seam) as client:
        error = await failure(client, server.url, method="POST")
        assert (error.reason, error.retryable) == ("protocol", True)
        assert len(server.requests) == 1


# --- time ----------------------------------------------------------------------------------------------------------


async def silence(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def half_a_body(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await asyncio.sleep(30)


@both
@pytest.mark.parametrize("answer", [silence, half_a_body])
async def test_the_timeout_covers_headers_and_body(answer: Answer, seam: bool) -> None:
    async with listening(answer) as server, egress("127.0.0.0/8", seam=seam) as client:
        error = await failure(client, server.url, timeout=0.2)
        assert (error.reason, error.retryable, str(error)) == ("timeout", True, "timed out after 200 ms")


async def test_the_timeout_covers_connecting() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with egress("127.0.0.0/8") as client:
            error = await failure(client, f"http://127.0.0.1:{full.getsockname()[1]}/", timeout=0.2)
            assert str(error) == "timed out after 200 ms"


async def test_the_timeout_covers_all_redirects_together() -> None:
    async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(redirect(302, "/again"))

    async with listening(slow) as server, egress("127.0.0.0/8") as client:
        error = await failure(client, server.url, timeout=0.25, follow_redirects=True)
        assert error.reason == "timeout"


async def test_cancelling_the_caller_is_not_a_timeout() -> None:
    async with listening(silence) as server, egress("127.0.0.0/8") as client:
        call = asyncio.ensure_future(get(client, server.url))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


# --- connecting ----------------------------------------------------------------------------------------------------


@both
async def test_a_refused_connection_says_so(seam: bool) -> None:
    async with listening() as server:
        port = server.port
    async with egress("127.0.0.0/8", seam=seam) as client:
        error = await failure(client, f"http://127.0.0.1:{port}/")
        assert (error.reason, error.retryable, str(error)) == ("connect", True, "connection refused")


@pytest.mark.parametrize("name", ["example.invalid", f"{'x' * 70}.invalid"])
async def test_a_name_that_does_not_resolve_says_so(name: str) -> None:
    async with egress() as client:
        error = await failure(client, f"http://{name}/", timeout=30)
        assert (error.reason, error.retryable) == ("dns", True)
        assert str(error).startswith(f"the name {name} ")


async def test_a_server_that_speaks_no_tls_is_a_tls_error() -> None:
    async with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(OK)
            writer.close()

        listener = await asyncio.start_server(plain, "127.0.0.1", 0)
        async with listener, egress("127.0.0.0/8") as client:
            error = await failure(client, f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/")
            assert (error.reason, error.retryable) == ("tls", True)
        assert server.requests == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_a_certificate_nobody_vouches_for_is_a_tls_error(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)  # noqa: ASYNC221
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with listening(tls=context) as server, egress("127.0.0.0/8") as client:
        error = await failure(client, f"https://127.0.0.1:{server.port}/")
        assert error.reason == "tls"
        assert str(error) == "the server's certificate is not valid: self-signed certificate"


# --- where the time went --------------------------------------------------------------------------------------------

PAUSE = 0.05
"""Long beside what loopback takes, in seconds."""


def paused(answer: bytes = OK) -> Answer:
    """Answers after a pause."""

    async def send(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(PAUSE)
        writer.write(answer)

    return send


def certified(directory: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context whose certificate the egress trusts during the test."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    return context


def check_sum(timing: Timing) -> None:
    """The parts follow each other, so together they are no more than the whole; each is rounded down to 10 us."""
    parts = (timing.wait, timing.connect, timing.tls, timing.first_byte)
    assert all(part is None or part >= 0 for part in parts)
    assert sum(part or 0 for part in parts) <= timing.total + 0.05


async def test_a_new_connection_takes_time_and_a_used_one_none() -> None:
    async with listening(paused()) as server, egress("127.0.0.0/8") as client:
        first, second = (await get(client, server.url)).watch, (await get(client, server.url)).watch
        assert server.connections == 1
        for watch in (first, second):
            assert watch.address == f"127.0.0.1:{server.port}"
            assert (watch.timing().first_byte or 0) >= PAUSE * 900
            assert watch.timing().tls is None
            check_sum(watch.timing())
        assert first.timing().connect is not None
        assert second.timing().connect is None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_tls_is_told_apart_from_the_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing at first holds up the handshake, not the connect."""
    context = certified(tmp_path, monkeypatch)
    async with listening(tls=context) as server, egress("127.0.0.0/8") as client:

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(PAUSE)
            there_in, there_out = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(_copy(reader, there_out), _copy(there_in, writer))

        slow = await asyncio.start_server(relay, "127.0.0.1", 0)
        port = slow.sockets[0].getsockname()[1]
        url = f"https://127.0.0.1:{port}/"
        first, second = (await get(client, url)).watch, (await get(client, url)).watch
        slow.close()
        assert server.connections == 1
    timing = first.timing()
    assert timing.tls is not None
    assert timing.connect is not None
    assert timing.tls >= PAUSE * 900
    assert timing.connect < timing.tls
    check_sum(timing)
    assert (second.timing().connect, second.timing().tls) == (None, None)
    assert first.address == second.address == f"127.0.0.1:{port}"


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            to.write(data)
            await to.drain()
    except ConnectionError:
        pass
    finally:
        to.close()


async def test_a_timeout_for_the_first_byte_tells_how_far_it_came() -> None:
    async with listening(silence) as server, egress("127.0.0.0/8") as client:
        watch = (await failure(client, server.url, 0.1)).watch
        assert watch is not None
        assert watch.address == f"127.0.0.1:{server.port}"
        assert watch.timing().connect is not None
        assert watch.timing().first_byte is None
        assert watch.timing().total >= 99


async def test_a_name_that_does_not_resolve_has_no_address_and_only_waited() -> None:
    async with egress() as client:
        error = await failure(client, "http://nowhere.invalid/")
        assert error.reason == "dns"
        assert error.watch is not None
        timing = error.watch.timing()
        assert (error.watch.address, timing.connect, timing.tls, timing.first_byte) == (None, None, None, None)
        assert timing.wait <= timing.total <= timing.wait + 50


async def test_a_refused_connect_has_no_address() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with egress("127.0.0.0/8") as client:
            error = await failure(client, f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert error.reason == "connect"
    assert error.watch is not None
    assert (error.watch.address, error.watch.timing().connect) == (None, None)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_a_failed_handshake_has_an_address_and_a_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = certified(tmp_path, monkeypatch)
    monkeypatch.undo()
    async with listening(tls=context) as server, egress("127.0.0.0/8") as client:
        error = await failure(client, f"https://127.0.0.1:{server.port}/")
        assert error.reason == "tls"
        assert error.watch is not None
        assert error.watch.address == f"127.0.0.1:{server.port}"
        assert error.watch.timing().connect is not None
        assert error.watch.timing().tls is None


async def test_one_of_several_addresses_answers() -> None:
    """localhost is two addresses where there is IPv6; only the one of IPv4 listens."""
    async with listening() as server, egress("localhost") as client:
        watch = (await get(client, f"http://localhost:{server.port}/")).watch
        assert watch.address == f"127.0.0.1:{server.port}"
        assert watch.timing().connect is not None


async def test_a_redirect_is_timed_by_its_last_hop_and_the_total_of_all() -> None:
    async with listening() as other, listening(paused(redirect(302, f"http://127.0.0.1:{other.port}/"))) as server:
        async with egress("127.0.0.0/8") as client:
            watch = (await get(client, server.url, follow_redirects=True)).watch
        assert watch.address == f"127.0.0.1:{other.port}"
        timing = watch.timing()
        assert timing.total >= PAUSE * 900
        assert timing.first_byte is not None
        assert timing.wait + timing.first_byte < timing.total - PAUSE * 900


async def test_waiting_for_a_place_in_the_pool_is_waiting() -> None:
    transport = GuardedTransport(AddressPolicy.parse(["127.0.0.0/8"], []), connections_per_host=1)
    client = EgressClient(transport, max_response_bytes=LIMIT)
    async with listening(paused()) as server:
        watches = [answer.watch for answer in await asyncio.gather(*(get(client, server.url) for _ in range(2)))]
        await client.close()
    first, second = sorted(watches, key=lambda watch: watch.timing().wait)
    assert second.timing().wait >= PAUSE * 900
    assert first.timing().connect is not None
    assert second.timing().connect is None


async def test_many_calls_at_once_have_their_own_times() -> None:
    async with listening() as fast, listening(paused()) as slow, egress("127.0.0.0/8") as client:
        calls = [get(client, (fast, slow)[number % 2].url) for number in range(40)]
        for number, answer in enumerate(await asyncio.gather(*calls)):
            assert answer.watch.address == f"127.0.0.1:{(fast, slow)[number % 2].port}"
            assert number % 2 == 0 or (answer.watch.timing().first_byte or 0) >= PAUSE * 900


async def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    """aiohttp tries a GET again on its own: the times are those of the second connection."""

    async def answer_and_leave(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async def leave(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(answer_and_leave, leave, OK) as server, egress("127.0.0.0/8") as client:
        await get(client, server.url)
        watch = (await get(client, server.url)).watch
        assert server.connections == 2
        assert watch.timing().connect is not None
        assert watch.address == f"127.0.0.1:{server.port}"
        check_sum(watch.timing())


async def test_another_transport_tells_only_the_total() -> None:
    async with listening(paused()) as server, egress("127.0.0.0/8", seam=True) as client:
        watch = (await get(client, server.url)).watch
        assert watch.address is None
        assert watch.timing().total >= PAUSE * 900
        assert watch.timing().connect is None


# --- redirects -----------------------------------------------------------------------------------------------------


@both
async def test_five_redirects_are_followed_and_a_sixth_is_too_many(seam: bool) -> None:
    hops = [redirect(status, f"/{status}") for status in (301, 302, 303, 307, 308)]
    async with listening(*hops, OK) as server, egress("127.0.0.0/8", seam=seam) as client:
        assert (await get(client, server.url, follow_redirects=True)).body == b"ok"
        assert [request.split()[1] for request in server.requests[1:]] == [b"/301", b"/302", b"/303", b"/307", b"/308"]
    async with listening(*hops, redirect(302, "/"), OK) as server, egress("127.0.0.0/8", seam=seam) as client:
        error = await failure(client, server.url, follow_redirects=True)
        assert (error.reason, error.retryable) == ("too-many-redirects", False)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "POST", "GET"),
        (301, "POST", "GET"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
async def test_the_method_after_a_redirect(status: int, method: str, then: str) -> None:
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with listening(redirect(status, "next?x=1"), final) as server, egress("127.0.0.0/8") as client:
        headers = {"Content-Type": "text/plain", "X-Keep": "1"}
        await client.send(OutboundRequest(method, f"{server.url}/a/b", headers, b"hello", 5, follow_redirects=True))
        second = server.requests[1]
        assert second.startswith(f"{then} /a/next?x=1 HTTP/1.1\r\n".encode())
        kept = then == method and method != "HEAD"
        assert second.endswith(b"hello") is (kept or method == "HEAD")
        assert (b"text/plain" in second) is (kept or method == "HEAD")
        assert b"X-Keep: 1" in second


async def test_credentials_go_to_their_own_origin_only() -> None:
    headers = {"authorization": "Bearer x", "Cookie": "a=b", "Proxy-Authorization": "y", "Host": "mine", "X-Keep": "1"}
    async with listening() as other, listening(redirect(307, "/same"), redirect(307, f"{other.url}/there")) as server:
        async with egress("127.0.0.0/8") as client:
            await get(client, server.url, headers=headers, follow_redirects=True)
        assert b"Bearer x" in server.requests[1]
        assert b"a=b" in server.requests[1]
        there = other.requests[0].lower()
        assert not any(word in there for word in (b"authorization", b"cookie", b"mine"))
        assert b"x-keep: 1" in there


async def test_a_redirect_without_a_location_is_a_response() -> None:
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nok"
    async with listening(answer) as server, egress("127.0.0.0/8") as client:
        got = await get(client, server.url, follow_redirects=True)
        assert (got.status, got.body) == (302, b"ok")


# --- the httpx side ------------------------------------------------------------------------------------------------


async def test_httpx_works_over_the_guarded_transport() -> None:
    transport = GuardedTransport(AddressPolicy.parse(["127.0.0.0/8"], []))
    answer = response(gzip.compress(b"hello"), "Content-Encoding: gzip", "Set-Cookie: a=1", "Set-Cookie: b=2")
    async with listening(answer) as server, httpx.AsyncClient(transport=transport) as client:
        got = await client.post(f"{server.url}/x?y=1", json={"a": 1})
        assert (got.status_code, got.text, got.reason_phrase) == (200, "hello", "OK")
        assert got.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert server.requests[0].startswith(b"POST /x?y=1 HTTP/1.1\r\n")
        assert server.requests[0].endswith(b'{"a":1}')


async def test_httpx_sees_its_own_errors() -> None:
    transport = GuardedTransport(AddressPolicy.parse(["127.0.0.0/8"], []))
    async with listening(silence) as server, httpx.AsyncClient(transport=transport, timeout=0.2) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(server.url)
        with pytest.raises(httpx.ConnectError, match="refused by the egress guard") as caught:
            await client.get("http://10.0.0.1/")
        assert isinstance(caught.value.__cause__, EgressError)
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://127.0.0.1/")


async def test_any_httpx_transport_can_take_its_place() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/slow":
            raise httpx.ReadTimeout("", request=request)
        return httpx.Response(201, headers={"X-A": "b"}, content=await request.aread())

    client = EgressClient(httpx.MockTransport(answer), max_response_bytes=3)
    got = await client.send(OutboundRequest("POST", "http://example/", {}, b"hello", 5))
    assert (got.status, got.body, got.truncated, got.headers["x-a"]) == (201, b"hel", True, "b")
    assert (await failure(client, "http://example/slow")).reason == "timeout"
    await client.close()
