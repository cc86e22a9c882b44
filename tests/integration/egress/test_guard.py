"""The guard against real listeners on the loopback interface."""

import asyncio

import pytest
from tests.support.egress import both, egress, failure, get, listening, redirect

from carom_common.adapters.egress import EgressError
from carom_common.adapters.egress.errors import AddressRefused
from carom_common.adapters.egress.guard import Guard
from carom_common.domain.address_policy import AddressPolicy


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
