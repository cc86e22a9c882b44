"""Where the time of a call went."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from tests.support.egress import LIMIT, OK, Answer, egress, failure, get, listening, redirect, silence
from tests.support.proxy import pipe

from carom_common.adapters.egress import EgressClient, GuardedTransport
from carom_common.contracts.message import Timing
from carom_common.domain.address_policy import AddressPolicy

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
            await asyncio.gather(pipe(reader, there_out), pipe(there_in, writer))

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
    """A GET is sent again inside one call: the times are those of the second connection."""

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
