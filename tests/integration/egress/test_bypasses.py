"""Every known way round a guard, in a network where each address answers: nothing arrives but what may.

Each family is tried twice. Once under a guard that is open, where the call arrives and so could do harm; and once under
the guard as it is by default, where it is refused and nobody sees a connection.
"""

import pytest
from tests.support.everywhere import Everywhere, Outcome

OPEN = {"allow": ["0.0.0.0/0", "::/0"]}
PUBLIC, PUBLIC6 = "93.184.216.34", "2606:4700:4700::1111"


def refused(outcome: Outcome) -> str:
    """That it was refused before anybody was connected to; why."""
    assert outcome.reason == "refused", outcome
    assert outcome.reached == []
    return outcome.text


def arrived(outcome: Outcome, address: str) -> None:
    assert (outcome.status, outcome.reached) == (200, [address]), outcome


@pytest.mark.parametrize("address", [PUBLIC, f"[{PUBLIC6}]"])
def test_a_public_address_is_called(everywhere: Everywhere, address: str) -> None:
    arrived(everywhere.one(f"http://{address}/"), address.strip("[]"))


FAMILIES = [
    ("127.0.0.1", "127.0.0.1", "loopback"),
    ("127.255.255.254", "127.255.255.254", "loopback"),
    ("0.0.0.0", "127.0.0.1", "unspecified"),
    ("0.1.2.3", "0.1.2.3", '"this network"'),
    ("10.0.0.1", "10.0.0.1", "private"),
    ("172.31.255.255", "172.31.255.255", "private"),
    ("192.168.0.1", "192.168.0.1", "private"),
    ("100.64.0.1", "100.64.0.1", "carrier-grade NAT"),
    ("169.254.1.1", "169.254.1.1", "link-local"),
    ("192.0.0.8", "192.0.0.8", "protocol assignments"),
    ("192.88.99.1", "192.88.99.1", "6to4 relay"),
    ("198.18.0.1", "198.18.0.1", "benchmarking"),
    ("203.0.113.1", "203.0.113.1", "documentation"),
    ("240.0.0.1", "240.0.0.1", "reserved"),
    ("[::1]", "::1", "loopback"),
    ("[::]", "::1", "unspecified"),
    ("[::ffff:127.0.0.1]", "127.0.0.1", "loopback"),
    ("[::ffff:7f00:1]", "127.0.0.1", "loopback"),
    ("[::ffff:a00:1]", "10.0.0.1", "private"),
    ("[0:0:0:0:0:ffff:10.0.0.1]", "10.0.0.1", "private"),
    ("[::127.0.0.1]", "::7f00:1", "IPv4-compatible"),
    ("[::a00:1]", "::a00:1", "IPv4-compatible"),
    ("[::ffff:0:a00:1]", "::ffff:0:a00:1", "reserved"),
    ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1", "NAT64"),
    ("[64:ff9b::8.8.8.8]", "64:ff9b::808:808", "NAT64"),
    ("[64:ff9b:1::a00:1]", "64:ff9b:1::a00:1", "NAT64"),
    ("[2002:7f00:1::]", "2002:7f00:1::", "6to4"),
    ("[2002:a00:1::1]", "2002:a00:1::1", "6to4"),
    ("[2001::1]", "2001::1", "Teredo"),
    ("[2001:0:7f00:1::80ff:fffe]", "2001:0:7f00:1::80ff:fffe", "Teredo"),
    ("[2001:2::1]", "2001:2::1", "benchmarking"),
    ("[2001:db8::1]", "2001:db8::1", "documentation"),
    ("[fc00::1]", "fc00::1", "unique local"),
    ("[fd12::1]", "fd12::1", "unique local"),
    ("[fec0::1]", "fec0::1", "site-local"),
    ("[100::1]", "100::1", "discard"),
    ("[4000::1]", "4000::1", "reserved"),
]


@pytest.mark.parametrize(("host", "address", "kind"), FAMILIES)
def test_an_address_that_is_not_public_is_refused(everywhere: Everywhere, host: str, address: str, kind: str) -> None:
    # Behind an address that says so is an IPv4 address that must be open too; it is, in 0.0.0.0/0.
    arrived(everywhere.one(f"http://{host}/", **OPEN), address)
    assert kind in refused(everywhere.one(f"http://{host}/"))


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("[ff02::1]", "multicast"),
        ("[ff0e::1]", "multicast"),
        ("[fe80::1]", "link-local"),
    ],
)
def test_what_no_connection_can_be_made_to_is_refused_before_one_is_tried(
    everywhere: Everywhere, address: str, kind: str
) -> None:
    assert kind in refused(everywhere.one(f"http://{address}/"))


METADATA = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "[fd00:ec2::254]"]


@pytest.mark.parametrize("host", METADATA)
def test_cloud_metadata_is_opened_by_its_own_address_alone(everywhere: Everywhere, host: str) -> None:
    address = host.strip("[]")
    arrived(everywhere.one(f"http://{host}/", allow=[address]), address)
    assert "metadata" in refused(everywhere.one(f"http://{host}/"))
    assert "metadata" in refused(everywhere.one(f"http://{host}/", **OPEN))


@pytest.mark.parametrize(
    "host", ["[::ffff:169.254.169.254]", "[::a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]"]
)
def test_cloud_metadata_in_another_form_is_not_opened_with_the_form(everywhere: Everywhere, host: str) -> None:
    assert "metadata" in refused(everywhere.one(f"http://{host}/", **OPEN))
    assert everywhere.one(f"http://{host}/").reason == "refused"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("metadata.google.internal", "169.254.169.254"),
        ("metadata.google.internal.", "169.254.169.254"),
        ("METADATA.google.internal", "169.254.169.254"),
        ("metadata.google.internal", "fd20:ce::254"),
        ("metadata.tencentyun.com", "169.254.0.23"),
        ("instance-data.ec2.internal", "169.254.169.254"),
        ("100-100-100-200.nip.test", "100.100.100.200"),
    ],
)
def test_a_name_of_cloud_metadata_is_refused_even_where_the_name_is_allowed(
    everywhere: Everywhere, name: str, address: str
) -> None:
    zone = {name.rstrip("."): [[address]]}
    arrived(everywhere.one(f"http://{name}/", zone=zone, allow=[address]), address)
    assert "metadata" in refused(everywhere.one(f"http://{name}/", zone=zone))
    assert "metadata" in refused(everywhere.one(f"http://{name}/", zone=zone, allow=[name]))


SPELLINGS = [
    "2130706433",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "LOCALHOST",
    "localhost.",
    "１２７.０.０.１",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "ｌｏｃａｌｈｏｓｔ",
    "localhost。",
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "[::ffff:127.0.0.1%25lo]",
    "[::1%25lo]",
]
ARRIVE = {"0x7f000001", "0x7F.0x0.0x0.0x1", "0x7f.1", "LOCALHOST", "localhost."}


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_this_machine_passes(everywhere: Everywhere, host: str) -> None:
    """Whatever a library makes of it: an address, a name or nonsense. Those in ARRIVE are known to lead here."""
    # Should a reader take one of them for a name, it resolves to what the attacker wants.
    zone = {name: [["127.0.0.1"]] for name in (host, host.lower(), "127.0.0.1", "localhost")}
    outcome = everywhere.one(f"http://{host}/", zone=zone)
    assert outcome.reason in {"refused", "invalid-url", "dns"}, outcome
    assert outcome.reached == []
    if host in ARRIVE:
        assert everywhere.one(f"http://{host}/", zone=zone, **OPEN).reached[0] in ("127.0.0.1", "::1")
        refused(outcome)


@pytest.mark.parametrize("host", ["１２７.０.０.１", "127。0。0。1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "ｌｏｃａｌｈｏｓｔ"])
def test_what_unicode_makes_of_a_host_is_what_is_judged(everywhere: Everywhere, host: str) -> None:
    """Full-width digits, ideographic full stops and letters in circles are those of ASCII once they are IDNA."""
    outcome = everywhere.one(f"http://{host}/", zone={}, **OPEN)
    assert outcome.reached in ([], ["127.0.0.1"], ["::1"])
    assert everywhere.one(f"http://{host}/", zone={}).reached == []


def test_userinfo_does_not_name_the_host(everywhere: Everywhere) -> None:
    for url in (f"http://{PUBLIC}@127.0.0.1/", f"http://{PUBLIC}:80@127.0.0.1/", "http://u:p@127.0.0.1/"):
        outcome = everywhere.one(url, **OPEN)
        assert (outcome.reason, outcome.reached) == ("invalid-url", [])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1\\@93.184.216.34/",
        "http://93.184.216.34\\@127.0.0.1/",
        "http://93.184.216.34#@127.0.0.1/",
        "http://93.184.216.34?@127.0.0.1/",
        "http:///127.0.0.1/",
        "http:127.0.0.1/",
        "http://93.184.216.34 @127.0.0.1/",
        "http://93.184.216.34\t@127.0.0.1/",
        "http://127.0.0.1:80:80/",
        "http://[::1/",
    ],
)
def test_what_readers_of_urls_differ_about_reaches_no_other_host(everywhere: Everywhere, url: str) -> None:
    assert set(everywhere.one(url, **OPEN).reached) <= {PUBLIC}


class TestNames:
    """A name is what its owner says it is, and may say something else the next time."""

    @pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.1.1", "::1", "::ffff:10.0.0.1", "fd12::1"])
    def test_a_public_name_of_a_private_address_is_refused(self, everywhere: Everywhere, address: str) -> None:
        zone = {"evil.test": [[address]]}
        assert everywhere.one("http://evil.test/", zone=zone, **OPEN).status == 200
        refused(everywhere.one("http://evil.test/", zone=zone))

    @pytest.mark.parametrize("private", ["10.0.0.1", "127.0.0.1", "::1", "fd12::1", "64:ff9b::a00:1"])
    @pytest.mark.parametrize("first", [True, False])
    def test_of_several_addresses_the_private_one_is_never_called(
        self, everywhere: Everywhere, private: str, first: bool
    ) -> None:
        both = [private, PUBLIC] if first else [PUBLIC, private]
        arrived(everywhere.one("http://mixed.test/", zone={"mixed.test": [both]}), PUBLIC)

    def test_a_private_address_is_no_fallback_where_the_public_one_is_not_there(self, everywhere: Everywhere) -> None:
        """Nobody listens on port 81 of any address; the answer names two, and only one of them is tried."""
        outcome = everywhere.one("http://mixed.test:81/", zone={"mixed.test": [[PUBLIC, "127.0.0.1"]]})
        assert (outcome.reason, outcome.reached) == ("connect", [])

    def test_the_address_that_was_judged_is_the_one_that_is_called(self, everywhere: Everywhere) -> None:
        """Rebinding: whoever looks the name up once to judge and once to connect is sent to the second answer."""
        zone = {"rebind.test": [[PUBLIC], ["127.0.0.1"]]}
        arrived(everywhere.one("http://rebind.test/", zone=zone), PUBLIC)

    def test_each_new_answer_is_judged(self, everywhere: Everywhere) -> None:
        zone = {"rebind.test": [[PUBLIC], ["127.0.0.1"], ["169.254.169.254"], [PUBLIC]]}
        calls = everywhere.call(*["http://rebind.test/"] * 4, zone=zone, forget=True)
        arrived(calls[0], PUBLIC)
        assert "loopback" in refused(calls[1])
        assert "metadata" in refused(calls[2])
        arrived(calls[3], PUBLIC)

    def test_a_name_that_rebinds_during_a_redirect_is_judged_again(self, everywhere: Everywhere) -> None:
        zone = {"a.test": [[PUBLIC]], "b.test": [["127.0.0.1"]]}
        outcome = everywhere.one("http://a.test/go", zone=zone, redirect="http://b.test/")
        assert (outcome.reason, outcome.reached) == ("refused", [PUBLIC])


@pytest.mark.parametrize("host", [host for host, _, _ in FAMILIES] + METADATA + sorted(ARRIVE))
def test_a_redirect_there_is_refused(everywhere: Everywhere, host: str) -> None:
    zone = {"localhost": [["127.0.0.1"]]}
    outcome = everywhere.one(f"http://{PUBLIC}/go", redirect=f"http://{host}/", zone=zone)
    assert (outcome.reason, outcome.reached) == ("refused", [PUBLIC])


@pytest.mark.parametrize(
    "host", ["2130706433", "0177.0.0.1", "127.1", "u:p@127.0.0.1", "%31%32%37.0.0.1", "[::1%25lo]"]
)
def test_a_redirect_to_an_odd_spelling_arrives_nowhere(everywhere: Everywhere, host: str) -> None:
    outcome = everywhere.one(f"http://{PUBLIC}/go", redirect=f"http://{host}/", zone={host: [["127.0.0.1"]]})
    assert outcome.reason in {"refused", "invalid-url", "dns"}
    assert outcome.reached == [PUBLIC]


@pytest.mark.parametrize("port", [22, 25, 6379])
def test_a_port_of_another_protocol_is_not_called_nor_redirected_to(everywhere: Everywhere, port: int) -> None:
    assert str(port) in refused(everywhere.one(f"http://{PUBLIC}:{port}/"))
    outcome = everywhere.one(f"http://{PUBLIC}/go", redirect=f"http://{PUBLIC}:{port}/")
    assert (outcome.reason, outcome.reached) == ("refused", [PUBLIC])
    arrived(everywhere.one(f"http://{PUBLIC}:8080/"), PUBLIC)


def test_a_proxy_of_the_environment_is_not_asked(everywhere: Everywhere, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address would answer as a proxy too."""
    outcome = everywhere.one(
        f"http://{PUBLIC}/", environment={"http_proxy": "http://10.0.0.1/", "all_proxy": "http://10.0.0.1"}
    )
    arrived(outcome, PUBLIC)
