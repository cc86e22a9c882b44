"""Following redirects."""

import pytest
from tests.support.egress import OK, both, egress, failure, get, listening, redirect

from carom_common.adapters.egress import OutboundRequest


@both
async def test_five_redirects_are_followed_and_a_sixth_is_too_many(seam: bool) -> None:
    hops = [redirect(status, f"/{status}") for status in (301, 302, 303, 307, 308)]
    async with listening(*hops, OK) as server, egress("127.0.0.0/8", seam=seam) as client:
        assert (await get(client, server.url, follow_redirects=True)).body == b"ok"
        assert [request.split()[1] for request in server.requests[1:]] == [b"/301", b"/302", b"/303", b"/307", b"/308"]
    async with listening(*hops, redirect(302, "/"), OK) as server, egress("127.0.0.0/8", seam=seam) as client:
        error = await failure(client, server.url, follow_redirects=True)
        assert (error.reason, error.retryable) == ("too-many-redirects", False)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "POST", "GET"),
        (301, "POST", "GET"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
async def test_the_method_after_a_redirect(status: int, method: str, then: str) -> None:
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with listening(redirect(status, "next?x=1"), final) as server, egress("127.0.0.0/8") as client:
        headers = {"Content-Type": "text/plain", "X-Keep": "1"}
        await client.send(OutboundRequest(method, f"{server.url}/a/b", headers, b"hello", 5, follow_redirects=True))
        second = server.requests[1]
        assert second.startswith(f"{then} /a/next?x=1 HTTP/1.1\r\n".encode())
        kept = then == method and method != "HEAD"
        assert second.endswith(b"hello") is (kept or method == "HEAD")
        assert (b"text/plain" in second) is (kept or method == "HEAD")
        assert b"X-Keep: 1" in second


async def test_credentials_go_to_their_own_origin_only() -> None:
    headers = {"authorization": "Bearer x", "Cookie": "a=b", "Proxy-Authorization": "y", "Host": "mine", "X-Keep": "1"}
    headers |= {"X-Api-Key": "hunter2", "Webhook-Signature": "v1,hunter2"}
    async with listening() as other, listening(redirect(307, "/same"), redirect(307, f"{other.url}/there")) as server:
        async with egress("127.0.0.0/8") as client:
            await get(client, server.url, headers=headers, follow_redirects=True)
        assert b"Bearer x" in server.requests[1]
        assert b"a=b" in server.requests[1]
        there = other.requests[0].lower()
        assert not any(word in there for word in (b"authorization", b"cookie", b"mine", b"hunter2"))
        assert server.requests[1].count(b"hunter2") == 2
        assert b"x-keep: 1" in there


async def test_a_redirect_without_a_location_is_a_response() -> None:
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nok"
    async with listening(answer) as server, egress("127.0.0.0/8") as client:
        got = await get(client, server.url, follow_redirects=True)
        assert (got.status, got.body) == (302, b"ok")
