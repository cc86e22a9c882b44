"""Which ports may be called."""

from pathlib import Path

import pytest

from carom_common.domain.egress_rules import NO_RULES
from carom_common.domain.outbound import ANYTHING, SCHEMES, Outbound
from carom_common.domain.ports import BLOCKED_BY_DEFAULT, Ports


@pytest.mark.parametrize("port", [80, 443, 3000, 5000, 8000, 8080, 8443, 9000, 9090, 9200, 32_768, 65_535])
def test_ports_of_http_are_open_by_default(port: int) -> None:
    assert Ports().refusal(port) is None


@pytest.mark.parametrize("port", [0, 7, 22, 25, 53, 110, 143, 445, 587, 3306, 5432, 5672, 6379, 6667, 11_211, 27_017])
def test_ports_of_other_protocols_are_blocked_by_default(port: int) -> None:
    assert Ports().refusal(port) == f"port {port} is blocked"


def test_a_list_is_all_that_may_be_called() -> None:
    ports = Ports(["443", "8000-8002"], [])
    open_ports = [port for port in range(65_536) if ports.refusal(port) is None]
    assert open_ports == [443, 8000, 8001, 8002]
    assert ports.refusal(80) == "port 80 is not among the allowed ports"


def test_blocked_wins_and_an_empty_list_blocks_nothing() -> None:
    assert Ports(["6379"]).refusal(6379) is not None
    assert Ports(["6379"], []).refusal(6379) is None
    assert not any(Ports([], []).refused)


def test_default_is_an_entry_like_others() -> None:
    ports = Ports([], ["8081", "default"])
    assert [ports.refusal(port) is None for port in (8080, 8081, 22)] == [True, False, False]


def test_the_ports_that_are_blocked_are_told() -> None:
    page = (Path(__file__).parents[3] / "docs/operations/egress.md").read_text().replace("\n> ", " ")
    assert f"{', '.join(BLOCKED_BY_DEFAULT)}\n" in page


@pytest.mark.parametrize("entry", ["", "x", "-1", "1-", "-", "65536", "9-8", "1-2-3", "１", "0x50", "80 81"])
def test_a_bad_entry_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a port"):
        Ports([entry])
    with pytest.raises(ValueError, match="is not a port"):
        Ports([], [entry])


def test_schemes_and_the_ports_that_they_mean() -> None:
    assert ANYTHING.refusal("http", None) is None
    assert ANYTHING.refusal("ftp", None) == "its scheme is neither http nor https"
    secure = Outbound(frozenset({"https"}), Ports(), NO_RULES)
    assert secure.refusal("http", None) == "the scheme http is not allowed"
    assert secure.refusal("https", None) is None
    only = Outbound(SCHEMES, Ports(["443"]), NO_RULES)
    assert only.refusal("https", None) is None
    assert only.refusal("http", None) == "port 80 is not among the allowed ports"
