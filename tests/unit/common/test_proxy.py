"""Where the egress proxy is, what it is told, and how its answer is read."""

import pytest

from carom_common.domain.proxy import Proxy, connect_status, parse_proxy


def test_the_parts_of_its_url() -> None:
    assert parse_proxy("http://proxy.example:3128") == Proxy("proxy.example", 3128, "")
    assert parse_proxy("http://[fd00::1]:3128/") == Proxy("fd00::1", 3128, "")
    assert parse_proxy("http://us%40er:p%2Fw@proxy:1").authorization == "Basic dXNAZXI6cC93"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:3128",
        "https://proxy:3128",
        "socks5://p:1",
        "http://proxy",
        "http://p:0",
        "http://hunter2@p:x",
        "http://p:1/x",
        "http://p:1?x",
    ],
)
def test_a_bad_url_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="must be a URL such as") as caught:
        parse_proxy(url)
    assert "hunter2" not in str(caught.value)


def test_it_is_told_an_address() -> None:
    assert (
        Proxy("p", 1, "").connect("192.0.2.1", 443) == b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n"
    )
    told = Proxy("p", 1, "Basic eA==").connect("2001:db8::1", 80)
    assert told.startswith(b"CONNECT [2001:db8::1]:80 HTTP/1.1\r\n")
    assert told.endswith(b"\r\nProxy-Authorization: Basic eA==\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", 200),
        (b"HTTP/1.0 200\r\n\r\n", 200),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nA: b\r\n\r\n", 407),
        (b"HTTP/2 200 OK\r\n\r\n", None),
        (b"SSH-2.0-x\r\n\r\n", None),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", None),
        (b"HTTP/1.1 2000 OK\r\n\r\n", None),
        (b"", None),
    ],
)
def test_its_answer(head: bytes, status: int | None) -> None:
    assert connect_status(head) == status
