"""What the configuration lets be called, at call time: hosts on a list, ports, schemes; redirects as much as calls."""

import pytest
from tests.support.egress import Delegate, both, failure, get, listening, redirect

from carom_common.adapters.egress import EgressClient, GuardedTransport
from carom_common.domain.address_policy import AddressPolicy
from carom_common.domain.egress_rules import NO_RULES, HostList
from carom_common.domain.outbound import SCHEMES, Outbound
from carom_common.domain.ports import Ports

ONLY = HostList(("localhost",), "targets")


def client_of(outbound: Outbound, *, seam: bool = False) -> EgressClient:
    transport = GuardedTransport(AddressPolicy.parse(["127.0.0.0/8", "::1"]), outbound=outbound)
    return EgressClient(Delegate(transport) if seam else transport, max_response_bytes=1000)


ANY = Outbound(SCHEMES, Ports([], []), NO_RULES)


@both
async def test_only_hosts_on_the_list_are_called(seam: bool) -> None:
    client = client_of(ANY, seam=seam)
    async with listening() as server:
        assert (await get(client, f"http://localhost:{server.port}/", hosts=ONLY)).body == b"ok"
        error = await failure(client, f"http://127.0.0.1:{server.port}/", hosts=ONLY)
        assert (error.reason, error.retryable) == ("refused", False)
        told = "refused by the egress guard: 127.0.0.1 is not among the hosts that targets may have"
        assert str(error) == told
        assert len(server.requests) == 1
    await client.close()


@both
async def test_a_redirect_to_a_host_that_is_not_on_the_list_is_refused(seam: bool) -> None:
    client = client_of(ANY, seam=seam)
    async with (
        listening() as other,
        listening(
            redirect(302, f"http://127.0.0.1:{other.port}/"), redirect(302, "/here"), redirect(302, "/")
        ) as server,
    ):
        url = f"http://localhost:{server.port}/"
        error = await failure(client, url, hosts=ONLY, follow_redirects=True)
        assert (error.reason, other.connections) == ("refused", 0)
        await failure(client, url, hosts=ONLY, follow_redirects=True)
        assert len(server.requests) > 3  # redirects on the host itself are followed
    await client.close()


async def test_a_host_on_the_list_is_not_opened_by_it() -> None:
    client = EgressClient(GuardedTransport(AddressPolicy.parse()), max_response_bytes=1000)
    async with listening() as server:
        error = await failure(client, f"http://localhost:{server.port}/", hosts=ONLY)
        assert "loopback" in str(error)
        assert server.connections == 0
    await client.close()


@pytest.mark.parametrize("blocked", [True, False])
async def test_a_port_that_is_blocked_or_not_on_the_list_is_refused(blocked: bool) -> None:
    async with listening() as server:
        away = redirect(302, f"http://127.0.0.1:{server.port}/")
        async with listening(away) as first:
            ports = Ports([], [str(server.port)]) if blocked else Ports([str(first.port)], [])
            client = client_of(Outbound(SCHEMES, ports, NO_RULES))
            for url in (server.url, first.url):
                error = await failure(client, url, follow_redirects=True)
                assert (error.reason, error.retryable) == ("refused", False)
                assert f"port {server.port}" in str(error)
            assert (server.connections, first.connections) == (0, 1)
            await client.close()


async def test_a_scheme_that_is_not_allowed_is_refused() -> None:
    client = client_of(Outbound(frozenset({"https"}), Ports([], []), NO_RULES))
    async with listening() as server:
        error = await failure(client, server.url)
        assert (error.reason, str(error)) == ("refused", "refused by the egress guard: the scheme http is not allowed")
        assert server.connections == 0
    await client.close()
