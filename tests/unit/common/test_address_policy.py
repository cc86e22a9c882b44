"""What the egress guard lets through: nothing but global unicast, unless the operator opened it."""

import pytest

from carom_common.domain.address_policy import AddressPolicy

DEFAULT = AddressPolicy.parse([], [])


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.254", "a loopback address"),
        ("10.0.0.1", "a private address"),
        ("172.16.0.1", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.168.1.1", "a private address"),
        ("169.254.0.1", "a link-local address"),
        ("169.254.169.254", "a cloud metadata address"),
        ("100.100.100.200", "a cloud metadata address"),
        ("168.63.129.16", "a cloud metadata address"),
        ("192.0.0.192", "a cloud metadata address"),
        ("fd00:ec2::254", "a cloud metadata address"),
        ("fd20:ce::254", "a cloud metadata address"),
        ("100.64.0.1", "a carrier-grade NAT address"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.250", "a multicast address"),
        ("240.0.0.1", "a reserved address"),
        ("0.0.0.0", "an unspecified address"),
        ("0.1.2.3", 'an address of "this network"'),
        ("255.255.255.255", "a broadcast address"),
        ("198.18.0.1", "a benchmarking address"),
        ("198.19.255.255", "a benchmarking address"),
        ("192.0.2.1", "a documentation address"),
        ("198.51.100.1", "a documentation address"),
        ("203.0.113.1", "a documentation address"),
        ("192.0.0.8", "an address for protocol assignments"),
        ("192.88.99.1", "a 6to4 relay address"),
        ("::", "an unspecified address"),
        ("::1", "a loopback address"),
        ("::7f00:1", "an IPv4-compatible address"),
        ("::808:808", "an IPv4-compatible address"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("::ffff:a9fe:a9fe", "a cloud metadata address"),
        ("::ffff:0:808:808", "a reserved address"),
        ("64:ff9b::808:808", "a NAT64 address"),
        ("64:ff9b:1::a00:1", "a NAT64 address"),
        ("100::1", "a discard address"),
        ("2001::1", "a Teredo address"),
        ("2001:2::1", "a benchmarking address"),
        ("2001:db8::1", "a documentation address"),
        ("2001:10::1", "an address for protocol assignments"),
        ("2002:7f00:1::", "a 6to4 address"),
        ("3fff::1", "a documentation address"),
        ("fc00::1", "a unique local address"),
        ("fd12:3456::1", "a unique local address"),
        ("fe80::1", "a link-local address"),
        ("fec0::1", "a site-local address"),
        ("ff02::1", "a multicast address"),
        ("4000::1", "a reserved address"),
        ("fe80::1%eth0", "a scoped address"),
        ("2606:4700::1%eth0", "a scoped address"),
    ],
)
def test_special_addresses_are_refused_with_the_reason(address: str, kind: str) -> None:
    assert DEFAULT.refusal(address) == f"{address} is {kind}"


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1"],
)
def test_global_unicast_is_allowed(address: str) -> None:
    assert DEFAULT.refusal(address) is None


@pytest.mark.parametrize("address", ["", "localhost", "2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1"])
def test_what_is_no_canonical_address_is_refused(address: str) -> None:
    assert DEFAULT.refusal(address) == f"{address} is not an IP address"


def test_allowed_networks_open() -> None:
    policy = AddressPolicy.parse(["10.1.0.0/16", "fd00:1::/32", "127.0.0.1"], [])
    assert policy.refusal("10.1.2.3") is None
    assert policy.refusal("fd00:1::5") is None
    assert policy.refusal("127.0.0.1") is None
    assert policy.refusal("10.2.0.1") is not None
    assert policy.refusal("127.0.0.2") is not None


def test_ipv4_entries_hold_for_mapped_addresses_and_the_other_way_round() -> None:
    assert AddressPolicy.parse(["10.0.0.0/8"], []).refusal("::ffff:10.0.0.1") is None
    assert AddressPolicy.parse(["::ffff:10.0.0.0/104"], []).refusal("10.0.0.1") is None
    assert AddressPolicy.parse([], ["8.8.8.8"]).refusal("::ffff:8.8.8.8") == "::ffff:8.8.8.8 is denied by configuration"


def test_deny_wins_over_allow_and_over_an_allowed_host() -> None:
    policy = AddressPolicy.parse(["10.0.0.0/8"], ["10.0.0.1", "8.8.8.0/24"])
    assert policy.refusal("10.0.0.1") == "10.0.0.1 is denied by configuration"
    assert policy.refusal("10.0.0.1", host_allowed=True) == "10.0.0.1 is denied by configuration"
    assert policy.refusal("8.8.8.8") == "8.8.8.8 is denied by configuration"


@pytest.mark.parametrize("address", ["::808:808", "64:ff9b::808:808", "2002:808:808::", "2001:0:808:808::"])
def test_deny_reaches_the_ipv4_address_inside_every_ipv6_form(address: str) -> None:
    policy = AddressPolicy.parse(["::/0"], ["8.8.8.8"])
    assert policy.refusal(address) == f"{address} is denied by configuration"


def test_an_open_nat64_prefix_does_not_open_private_ipv4_behind_it() -> None:
    policy = AddressPolicy.parse(["64:ff9b::/96"], [])
    assert policy.refusal("64:ff9b::808:808") is None
    assert policy.refusal("64:ff9b::a9fe:a9fe") == (
        "64:ff9b::a9fe:a9fe leads to 169.254.169.254, a cloud metadata address"
    )
    assert policy.refusal("64:ff9b::a00:1") == "10.0.0.1 is a private address"


def test_the_local_nat64_prefix_opens_no_private_ipv4_either() -> None:
    policy = AddressPolicy.parse(["64:ff9b:1::/96"], ["8.8.4.4"])
    assert policy.refusal("64:ff9b:1::808:808") is None
    assert policy.refusal("64:ff9b:1::a00:1") == "10.0.0.1 is a private address"
    assert policy.refusal("64:ff9b:1::808:404") == "64:ff9b:1::808:404 is denied by configuration"


METADATA = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"]


@pytest.mark.parametrize("address", METADATA)
def test_metadata_is_opened_by_its_own_address_only(address: str) -> None:
    """Whoever opens 100.64.0.0/10, fc00::/7 or a name means workloads, not the credentials of the machine."""
    wide = AddressPolicy.parse(["0.0.0.0/0", "::/0"], [])
    assert wide.refusal(address) == f"{address} is a cloud metadata address"
    assert wide.refusal(address, host_allowed=True) == f"{address} is a cloud metadata address"
    own = AddressPolicy.parse([address], [])
    assert own.refusal(address) is None
    assert AddressPolicy.parse([address], [address]).refusal(address) is not None


@pytest.mark.parametrize("address", ["::ffff:a9fe:a9fe", "::a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"])
def test_metadata_inside_another_form_is_not_opened_with_the_form(address: str) -> None:
    assert "a cloud metadata address" in str(AddressPolicy.parse(["0.0.0.0/0", "::/0"], []).refusal(address))


def test_an_allowed_host_opens_every_address_but_scoped_ones() -> None:
    assert DEFAULT.refusal("127.0.0.1", host_allowed=True) is None
    assert DEFAULT.refusal("fd00::1", host_allowed=True) is None
    assert DEFAULT.refusal("fe80::1%eth0", host_allowed=True) is not None


def test_host_rules_ignore_case_and_trailing_dots_and_deny_wins() -> None:
    policy = AddressPolicy.parse(["Internal.Example.", "*.svc.cluster.local"], ["bad.svc.cluster.local", "*.evil.test"])
    assert policy.host_rule("internal.EXAMPLE") == "allow"
    assert policy.host_rule("a.b.svc.cluster.local.") == "allow"
    assert policy.host_rule("bad.svc.cluster.local") == "deny"
    assert policy.host_rule("x.evil.test") == "deny"


def test_a_wildcard_means_only_names_below_it() -> None:
    policy = AddressPolicy.parse(["*.example.com"], [])
    assert policy.host_rule("example.com") is None
    assert policy.host_rule("notexample.com") is None
    assert policy.host_rule("a.example.com") == "allow"


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "300.1.1.1",
        "2130706433",
        "http://x",
        "a b",
        "*",
        "*.",
        "a.*.b",
        "-a.b",
        "x:1",
        "ü.de",
    ],
)
def test_a_bad_entry_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a CIDR, an address or a host name") as caught:
        AddressPolicy.parse([entry], [])
    assert repr(entry) in str(caught.value)
