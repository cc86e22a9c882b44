"""The guarded transport under httpx, and other transports under the client."""

import gzip

import httpx
import pytest
from tests.support.egress import failure, listening, response, silence

from carom_common.adapters.egress import EgressClient, EgressError, GuardedTransport, OutboundRequest
from carom_common.domain.address_policy import AddressPolicy


async def test_httpx_works_over_the_guarded_transport() -> None:
    transport = GuardedTransport(AddressPolicy.parse(["127.0.0.0/8"], []))
    answer = response(gzip.compress(b"hello"), "Content-Encoding: gzip", "Set-Cookie: a=1", "Set-Cookie: b=2")
    async with listening(answer) as server, httpx.AsyncClient(transport=transport) as client:
        got = await client.post(f"{server.url}/x?y=1", json={"a": 1})
        assert (got.status_code, got.text, got.reason_phrase) == (200, "hello", "OK")
        assert got.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert server.requests[0].startswith(b"POST /x?y=1 HTTP/1.1\r\n")
        assert server.requests[0].endswith(b'{"a":1}')


async def test_httpx_sees_its_own_errors() -> None:
    transport = GuardedTransport(AddressPolicy.parse(["127.0.0.0/8"], []))
    async with listening(silence) as server, httpx.AsyncClient(transport=transport, timeout=0.2) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(server.url)
        with pytest.raises(httpx.ConnectError, match="refused by the egress guard") as caught:
            await client.get("http://10.0.0.1/")
        assert isinstance(caught.value.__cause__, EgressError)
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://127.0.0.1/")


async def test_any_httpx_transport_can_take_its_place() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/slow":
            raise httpx.ReadTimeout("", request=request)
        return httpx.Response(201, headers={"X-A": "b"}, content=await request.aread())

    client = EgressClient(httpx.MockTransport(answer), max_response_bytes=3)
    got = await client.send(OutboundRequest("POST", "http://example/", {}, b"hello", 5))
    assert (got.status, got.body, got.truncated, got.headers["x-a"]) == (201, b"hel", True, "b")
    assert (await failure(client, "http://example/slow")).reason == "timeout"
    await client.close()
