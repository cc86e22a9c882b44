"""Certificates for single hosts, on real TLS connections."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from tests.support.egress import failure, get, listening, redirect

from carom_common import tls_hosts
from carom_common.adapters.egress import EgressClient, GuardedTransport
from carom_common.domain.address_policy import AddressPolicy
from carom_common.tls_hosts import read_tls_hosts


class World:
    """A CA of one's own, servers with its certificates, and a client's certificate, in files as they are mounted."""

    def __init__(self, directory: Path) -> None:
        self.ca, self.directory = trustme.CA(), directory
        self.ca.cert_pem.write_to_path(directory / "ca.pem")
        self.issue("client")

    def issue(self, name: str, ca: trustme.CA | None = None) -> None:
        issued = (ca or self.ca).issue_cert("client.example")
        issued.private_key_and_cert_chain_pem.write_to_path(self.directory / f"{name}.pem")

    def server(self, *, asks: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return context

    def files(self, **names: str) -> dict[str, str]:
        return {name: str(self.directory / file) for name, file in names.items()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def knowing(hosts: dict[str, dict[str, str]]) -> AsyncIterator[EgressClient]:
    transport = GuardedTransport(AddressPolicy.parse(["127.0.0.0/8", "::1"]), tls=read_tls_hosts(json.dumps(hosts)))
    client = EgressClient(transport, max_response_bytes=1000)
    try:
        yield client
    finally:
        await client.close()


async def test_a_ca_of_ones_own_is_trusted_for_its_host_alone(world: World) -> None:
    async with listening(tls=world.server()) as server, knowing({"LocalHost.": world.files(ca="ca.pem")}) as client:
        assert (await get(client, f"https://localhost:{server.port}/")).body == b"ok"
        error = await failure(client, f"https://127.0.0.1:{server.port}/")
        assert (error.reason, len(server.requests)) == ("tls", 1)


async def test_the_name_in_the_certificate_is_checked_all_the_same(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    world.ca.issue_cert("other.example").configure_cert(context)
    async with listening(tls=context) as server, knowing({"localhost": world.files(ca="ca.pem")}) as client:
        assert (await failure(client, f"https://localhost:{server.port}/")).reason == "tls"


async def test_a_client_certificate_is_shown_to_its_host_alone(world: World) -> None:
    """Both servers ask for one; only the connection of the host that it is for has it."""
    hosts = {
        "localhost": world.files(ca="ca.pem", cert="client.pem"),
        "127.0.0.1": world.files(ca="ca.pem"),
    }
    async with listening(tls=world.server(asks=True)) as server, knowing(hosts) as client:
        assert (await get(client, f"https://localhost:{server.port}/")).body == b"ok"
        error = await failure(client, f"https://127.0.0.1:{server.port}/")
        assert error.retryable
        assert len(server.requests) == 1


async def test_a_redirect_to_another_host_takes_no_certificate_along(world: World) -> None:
    hosts = {"localhost": world.files(ca="ca.pem", cert="client.pem"), "127.0.0.1": world.files(ca="ca.pem")}
    async with listening(tls=world.server(asks=True)) as other:
        away = redirect(302, f"https://127.0.0.1:{other.port}/")
        async with listening(away, tls=world.server(asks=True)) as server, knowing(hosts) as client:
            await failure(client, f"https://localhost:{server.port}/", follow_redirects=True)
            assert (len(server.requests), other.requests) == (1, [])


async def test_names_below_a_name_and_the_longest_wins(world: World) -> None:
    hosts = read_tls_hosts(
        json.dumps({"*.a.test": world.files(ca="ca.pem"), "*.b.a.test": world.files(cert="client.pem")})
    )
    assert hosts is not None
    wide, narrow = hosts.context("x.a.test"), hosts.context("X.b.a.test.")
    assert wide is not None
    assert narrow is not None
    assert wide is not narrow
    assert hosts.context("a.test") is None
    assert hosts.context("x.a.test") is wide


async def test_a_renewed_certificate_needs_no_restart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one is of a CA that the server does not know; with the new one it lets us in."""
    world.issue("client", trustme.CA())
    hosts = {"localhost": world.files(ca="ca.pem", cert="client.pem")}
    async with listening(tls=world.server(asks=True)) as server, knowing(hosts) as client:
        url = f"https://localhost:{server.port}/"
        await failure(client, url)
        monkeypatch.setattr(tls_hosts, "LOOK_SECONDS", 0)
        (world.directory / "client.pem").write_text("half written")
        await failure(client, url)
        world.issue("client")
        assert (await get(client, url)).body == b"ok"


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        ("x", "must be JSON such as"),
        ('{"a": {"caa": "x"}}', "caa"),
        ('{"a": {}}', "a: names neither ca nor cert"),
        ('{"a": {"key": "x"}}', "a: a key needs a cert"),
        ('{"a b": {"ca": "x"}}', "'a b' is not"),
        ('{"10.0.0.0/8": {"ca": "x"}}', "is not a host name or an address"),
        ('{"a": {"ca": "/nowhere/ca.pem"}}', "a: /nowhere/ca.pem cannot be read"),
        ('{"a": {"ca": "/etc/hostname"}}', "a: /etc/hostname holds no CA"),
        ('{"a": {"cert": "/etc/hostname"}}', "a: /etc/hostname is no certificate"),
    ],
)
def test_bad_files_are_one_line(hosts: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        read_tls_hosts(hosts)
    assert "\n" not in str(caught.value)
