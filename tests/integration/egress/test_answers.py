"""What the egress takes of an answer."""

import asyncio
import gzip
import traceback
import tracemalloc
import zlib

import pytest
from tests.support.egress import LIMIT, OK, both, egress, failure, get, listening, response


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


async def test_a_flood_of_responses_before_the_response_ends_the_call() -> None:
    """aiohttp keeps all that nobody has taken yet, however many come."""

    async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await writer.drain()

    async with listening(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK, flood) as server, egress("127.0.0.0/8") as client:
        assert (await get(client, server.url)).body == b"ok"
        assert (await failure(client, server.url)).reason == "protocol"


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
