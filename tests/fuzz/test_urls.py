"""URLs, destinations and addresses: whoever reads one reads the same, and what is refused is refused with a reason."""

from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.material import fuzz, texts

from carom_common.adapters.egress.errors import EgressError
from carom_common.adapters.egress.transport import parse_url, resolve_url
from carom_common.domain.address_policy import AddressPolicy
from carom_common.domain.destinations import destination_of
from carom_common.domain.outbound import called_host
from carom_common.domain.rules import parse_host
from carom_intake.domain.addresses import client_address, parse_networks
from carom_intake.domain.checks import MAX_URL, url_problems

URLS = texts(
    "http://example.com/a?b=c#d",
    "https://user:pass@[::1]:8443/x",
    "HTTP://EXAMPLE.com.:80",
    "http://0x7f.1/",
    "https://xn--bcher-kva.example:65535/%2e%2e/",
    "http://b\u00fccher.example/\u00fc",
    "http://[::ffff:127.0.0.1]:8080/",
    "http://[fe80::1%25eth0]/",
    "//host/path",
    "http:host",
    "ftp://host:21/",
)


def written(host: str) -> str:
    """In one way, where there are several for one host."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower()


@fuzz
@given(URLS)
@example("http://[::")
@example("http://host:port/")
@example("http://h:99999/")
@example("http://[v1.x]/")
@example("http://a@b@c/")
def test_a_url_that_is_taken_has_one_host_and_one_destination(url: str) -> None:
    """What intake lets in, limits are kept for and the egress calls must be the same place."""
    destination = destination_of(url)  # of anything: messages are not checked by intake
    assert destination == destination.lower()
    if list(url_problems("/targetUrl", url)):
        return
    assert len(url) <= MAX_URL
    assert destination
    try:
        called = parse_url(url)
    except EgressError as error:
        assert error.reason == "invalid-url"
        return
    host = called_host(url)
    assert written(host) == written(called.raw_host or "")
    name = destination.rpartition(":")[0] if destination.rpartition(":")[2].isdigit() else destination
    assert called.scheme in ("http", "https")
    assert called.raw_user is called.raw_password is None
    if name.isascii() and "%" not in name:
        assert written(name.strip("[]").rstrip(".")) == written((host or "").rstrip("."))


@fuzz
@given(URLS, URLS)
def test_a_redirect_leads_to_an_http_url_or_nowhere(base: str, location: str) -> None:
    try:
        there, same = resolve_url(base, location)
    except EgressError as error:
        assert error.reason == "invalid-url"
        return
    called = parse_url(there)
    assert called.scheme in ("http", "https")
    assert called.raw_user is None
    if same:
        assert (called.raw_host or "").lower() == (parse_url(base).raw_host or "").lower()


@fuzz
@given(texts("api.example.com:8443", "[2001:db8::1]:80", "localhost", "a:0"))
def test_a_host_that_is_taken_is_a_destination_as_it_stands(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError as error:
        assert str(error).startswith("must be a host")
        return
    assert host in (destination_of(f"http://{host}/"), destination_of(f"https://{host}/"))


@fuzz
@given(
    texts("127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fe80::1%eth0", "2002:7f00:1::", "0177.0.0.1", "1.1.1.1")
)
def test_what_is_no_address_is_never_let_through(text: str) -> None:
    refused = AddressPolicy().refusal(text)
    try:
        address = ip_address(text)
    except ValueError:
        assert refused
        return
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_private or mapped.is_loopback or mapped.is_link_local or mapped.is_multicast:
        assert refused or str(mapped) in ("192.0.0.9", "192.0.0.10")
    assert not refused or refused.startswith(text)


@fuzz
@given(st.integers(0, 2**128 - 1), st.integers(0, 2**32 - 1))
def test_no_way_to_write_a_private_address_opens_it(wide: int, narrow: int) -> None:
    """All 128 bits, and every embedding of IPv4 in them."""
    policy = AddressPolicy()
    v4 = ip_address(narrow)
    assert bool(policy.refusal(str(v4))) >= v4.is_private
    for address in (ip_address(0xFFFF << 32 | narrow), ip_address((0x64FF9B << 96) | narrow), ip_address(narrow)):
        if policy.refusal(str(v4)):
            assert policy.refusal(str(address))
    v6 = ip_address(wide)
    assert bool(policy.refusal(str(v6))) >= (v6.is_private or v6.is_multicast)


@fuzz
@given(st.lists(texts("10.0.0.1", "203.0.113.7, 10.0.0.2", "::ffff:10.0.0.3", "unknown"), max_size=4))
def test_a_forged_forwarded_for_is_no_trusted_address(fields: list[str]) -> None:
    """Where everything is trusted there is no other end; else what comes out is not one of the proxies."""
    trusted = parse_networks(["10.0.0.0/8"])
    found = client_address("10.0.0.9", fields, trusted)
    assert found is None or found == ip_address("10.0.0.9") or str(found) in ",".join(fields) or found.version == 6
    assert client_address("198.51.100.1", fields, trusted) == ip_address("198.51.100.1")


@pytest.mark.parametrize("url", ["http://" + "a" * 100_000, "http://" + "[" * 50_000, "http://" + "@" * 50_000 + "/"])
def test_a_long_url_is_refused_for_its_length(url: str) -> None:
    (problem,) = url_problems("/targetUrl", url)
    assert "characters long" in problem.detail
