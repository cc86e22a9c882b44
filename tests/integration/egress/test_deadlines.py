"""How long a call may take, and how a connection fails."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from tests.support.egress import OK, Answer, both, egress, failure, get, listening, redirect, silence


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
