"""Calls through an egress proxy: a real one, which is asked for checked addresses and never for names."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from tests.support.egress import Answer, failure, get, listening, redirect
from tests.support.proxy import ConnectProxy, proxying

from carom_common.adapters.egress import EgressClient, GuardedTransport
from carom_common.domain.address_policy import AddressPolicy
from carom_common.domain.proxy import parse_proxy
from carom_common.tls_hosts import read_tls_hosts


@asynccontextmanager
async def through(
    proxy: ConnectProxy | int, *allow: str, login: str = "", tls: str = "", deny: tuple[str, ...] = ()
) -> AsyncIterator[EgressClient]:
    port = proxy if isinstance(proxy, int) else proxy.port
    transport = GuardedTransport(
        AddressPolicy.parse(allow, deny),
        proxy=parse_proxy(f"http://{login}127.0.0.1:{port}"),
        tls=read_tls_hosts(tls),
    )
    client = EgressClient(transport, max_response_bytes=1000)
    try:
        yield client
    finally:
        await client.close()


async def test_a_call_goes_through_the_proxy_to_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as server, proxying() as proxy, through(proxy, "localhost") as client:
        answers = [await get(client, f"http://localhost:{server.port}/a") for _ in range(3)]
        assert [answer.body for answer in answers] == [b"ok"] * 3
        # Not a word of the job to the proxy, and one tunnel for three calls. The first address may be that of IPv6.
        assert proxy.targets[-1] == f"127.0.0.1:{server.port}"
        assert set(proxy.targets) <= {f"127.0.0.1:{server.port}", f"[::1]:{server.port}"}
        assert server.connections == 1
        assert server.requests[0].startswith(f"GET /a HTTP/1.1\r\nHost: localhost:{server.port}\r\n".encode())
        assert answers[0].watch.address == f"127.0.0.1:{server.port}"
        assert answers[0].watch.timing().connect is not None
        assert answers[1].watch.timing().connect is None


async def test_the_proxy_is_told_its_own_credentials_and_the_target_is_not() -> None:
    async with listening() as server, proxying() as proxy:
        async with through(proxy, "127.0.0.1", login="us%40er:pw@") as client:
            await get(client, server.url)
        assert "\r\nProxy-Authorization: Basic dXNAZXI6cHc=\r\n" in proxy.asked[0]
        assert b"proxy" not in server.requests[0].lower()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"])
async def test_a_refused_address_is_not_even_asked_for(host: str) -> None:
    """The proxy stands inside the network, where it would reach what we may not."""
    async with listening() as server, proxying() as proxy, through(proxy) as client:
        error = await failure(client, f"http://{host}:{server.port}/")
        assert (error.reason, proxy.asked, server.connections) == ("refused", [], 0)


async def test_a_redirect_to_a_refused_address_is_not_asked_for() -> None:
    async with (
        listening(redirect(302, "http://127.0.0.2/")) as server,
        proxying() as proxy,
        through(proxy, "127.0.0.1") as client,
    ):
        assert (await failure(client, server.url, follow_redirects=True)).reason == "refused"
        assert proxy.targets == [f"127.0.0.1:{server.port}"]


async def test_tls_is_between_us_and_the_target(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    tls = f'{{"localhost": {{"ca": "{tmp_path}/ca.pem"}}}}'
    async with listening(tls=context) as server, proxying() as proxy, through(proxy, "localhost", tls=tls) as client:
        answer = await get(client, f"https://localhost:{server.port}/")
        assert answer.body == b"ok"
        assert answer.watch.timing().tls is not None
    async with listening(tls=context) as server, proxying() as proxy, through(proxy, "localhost") as client:
        error = await failure(client, f"https://localhost:{server.port}/")
        assert (error.reason, error.retryable) == ("tls", True)


@pytest.mark.parametrize(
    ("answer", "reason", "retryable", "says"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused", False, "the egress proxy answered 403"),
        (b"HTTP/1.1 407 Log in\r\n\r\n", "proxy", True, "the egress proxy answered 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "proxy", True, "the egress proxy answered 502"),
        (b"SSH-2.0-x\r\n\r\n", "proxy", True, "the egress proxy does not answer in HTTP"),
        (b"", "proxy", True, "the egress proxy closed the connection"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "proxy", True, "the egress proxy does not answer in HTTP"),
        (
            b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "proxy",
            True,
            "the egress proxy sent more than its answer",
        ),
    ],
)
async def test_what_a_proxy_answers_instead(answer: bytes, reason: str, retryable: bool, says: str) -> None:
    async with listening() as server, proxying(answer) as proxy, through(proxy, "127.0.0.1") as client:
        error = await failure(client, server.url)
        assert (error.reason, error.retryable, server.connections) == (reason, retryable, 0)
        assert says in str(error)


async def test_without_its_proxy_nothing_goes_out() -> None:
    async with proxying() as gone:
        port = gone.port
    async with listening() as server, through(port, "127.0.0.1") as client:
        error = await failure(client, server.url)
        assert (error.reason, error.retryable) == ("proxy", True)
        assert str(error) == "the egress proxy cannot be reached"
        assert server.connections == 0


async def test_a_silent_proxy_costs_no_more_than_the_timeout() -> None:
    async with listening() as server, proxying(silent=True) as proxy, through(proxy, "127.0.0.1") as client:
        error = await failure(client, server.url, timeout=0.2)
        assert (error.reason, str(error)) == ("timeout", "timed out after 200 ms")


async def test_many_calls_at_once_have_tunnels_of_their_own() -> None:
    async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    answers: list[Answer] = [slow]
    async with listening(*answers) as server, proxying() as proxy, through(proxy, "127.0.0.1") as client:
        got = await asyncio.gather(*(get(client, server.url) for _ in range(20)))
        assert [answer.body for answer in got] == [b"ok"] * 20
        assert len(proxy.asked) == server.connections == 20
