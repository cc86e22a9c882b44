"""What the egress sends."""

import asyncio
from pathlib import Path

import pytest
from tests.support.egress import OK, egress, failure, get, listening, response

from carom_common.adapters.egress import EgressError, OutboundRequest


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


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nY: b"},
        {"X": "a\rb"},
        {"X": "a\0b"},
        {"X: a\r\nY": "b"},
        {"Content-Length: 0\r\nX": "b"},
        {"Content-Length: 0": "b"},
        {"X ": "b"},
        {"": "b"},
        {"Host": "a\nX: b"},
    ],
)
async def test_a_header_that_would_be_read_as_something_else_is_not_sent(headers: dict[str, str]) -> None:
    async with listening() as server, egress("127.0.0.0/8") as client:
        error = await failure(client, server.url, headers=headers)
        assert error.reason == "protocol"
        assert server.requests == []


@pytest.mark.parametrize("method", ["GET / HTTP/1.1\r\nX:", "G T", ""])
async def test_a_method_that_would_be_read_as_something_else_is_not_sent(method: str) -> None:
    async with listening() as server, egress("127.0.0.0/8") as client:
        error = await failure(client, server.url, method=method)
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


async def leave(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(("method", "repeated"), [("PUT", True), ("POST", False)])
async def test_over_a_used_connection_that_was_closed_only_an_idempotent_request_goes_out_again(
    method: str, repeated: bool
) -> None:
    async with listening(OK, leave, OK) as server, egress("127.0.0.0/8") as client:
        await get(client, server.url)
        second = OutboundRequest(method, server.url, {}, b"x", 5)
        if repeated:
            assert (await client.send(second)).status == 200
        else:
            with pytest.raises(EgressError, match="closed the connection without a response"):
                await client.send(second)
        assert len(server.requests) == 2 + repeated


async def test_over_a_new_connection_nothing_goes_out_again() -> None:
    async with listening(leave, OK) as server, egress("127.0.0.0/8") as client:
        assert (await failure(client, server.url)).reason == "protocol"
        assert len(server.requests) == 1


async def test_a_connection_on_which_a_body_was_never_sent_whole_is_not_used_again() -> None:
    """The answer came first: what is left of the body would be read as the next request."""
    connections = 0

    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(impatient, "127.0.0.1", 0, limit=1024)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, egress("127.0.0.0/8") as client:
        for _ in range(2):
            request = OutboundRequest("POST", url, {}, b"x" * 32_000_000, 5)
            assert (await client.send(request)).status == 413
        assert connections == 2
