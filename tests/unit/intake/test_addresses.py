"""Where a request comes from: what is believed of X-Forwarded-For, and of whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carom_intake.domain.addresses import client_address, parse_address, parse_networks

TRUSTED = parse_networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.0.0.2 ,10.0.0.3"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.7, unknown"], None),
        ("10.0.0.1", ["198.51.100.7:4711"], None),
        ("10.0.0.1", [""], None),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("", [], None),
    ],
)
def test_the_last_address_that_is_no_trusted_proxy(peer: str, forwarded: list[str], expected: str | None) -> None:
    found = client_address(peer, forwarded, TRUSTED)
    assert (None if found is None else str(found)) == expected


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3))
def test_any_text_is_an_address_or_none(peer: str, forwarded: list[str]) -> None:
    client_address(peer, forwarded, TRUSTED)


@given(st.lists(st.ip_addresses(), min_size=1, max_size=5), st.ip_addresses())
def test_nobody_gets_past_the_first_untrusted_one(invented: list[object], real: object) -> None:
    """Whatever a client writes into the field, the address that a trusted proxy appended counts."""
    field = ", ".join(map(str, [*invented, real]))
    found = client_address("10.0.0.1", [field], TRUSTED)
    if not TRUSTED.hold(parse_address(str(real))):
        assert found == parse_address(str(real))


@pytest.mark.parametrize("text", ["", "x", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/255.0.0.1", "1.2.3.4.5"])
def test_what_is_no_cidr_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no CIDR such as"):
        parse_networks([text])


def test_an_address_of_its_own_is_a_network() -> None:
    assert parse_networks(["192.0.2.1"]).hold(parse_address("192.0.2.1"))
    assert not parse_networks(["192.0.2.1"]).hold(parse_address("192.0.2.2"))
    assert not parse_networks(["0.0.0.0/0", "::/0"]).hold(None)
