"""A call that is told to end while its connection comes to be ends, at whatever step it is."""

import asyncio
import socket
from typing import Any

import aiohappyeyeballs.impl
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from carom_common.adapters.egress.client import EgressClient, OutboundRequest
from carom_common.adapters.egress.transport import GuardedTransport
from carom_common.domain.address_policy import AddressPolicy

NOBODY = "192.0.2.1"


class TwoAddresses(AbstractResolver):
    """The first of which answers nobody."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=6, flags=0)
            for address in (NOBODY, "127.0.0.1")
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize("turns", range(7))
async def test_told_so_many_turns_of_the_loop_after_one_of_two_has_connected(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohappyeyeballs waits for who lost the race with what would end the call suppressed."""
    loop, connect = asyncio.get_running_loop(), aiohappyeyeballs.impl._connect_sock

    def end_after(turns: int) -> None:
        if turns:
            loop.call_soon(end_after, turns - 1)
        else:
            call.cancel()

    async def one_of_two(loop: Any, exceptions: Any, info: Any, *others: Any) -> socket.socket:
        if info[4][0] == NOBODY:
            await loop.create_future()
        connected = await connect(loop, exceptions, info, *others)
        end_after(turns)
        return connected

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(aiohappyeyeballs.impl, "_connect_sock", one_of_two)
    policy = AddressPolicy.parse(["127.0.0.0/8", "192.0.2.0/24"], [])
    client = EgressClient(GuardedTransport(policy, resolver=TwoAddresses()), max_response_bytes=1000)
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    call = asyncio.create_task(client.send(OutboundRequest("GET", f"http://h.test:{port}/", {}, None, 60)))
    try:
        await asyncio.wait((call,), timeout=5)
        assert call.cancelled()
    finally:
        call.cancel()
        await asyncio.wait((call,))
        await client.close()
        server.close()
