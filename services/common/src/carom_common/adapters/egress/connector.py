"""aiohttp's connector, with a stopwatch on it.

It overrides `connect`, and `_wrap_create_connection`, which aiohttp does not promise to keep: the tests of the timing
in tests/integration/test_egress.py fail with a version that has changed it.
"""

from asyncio import Task, Transport, current_task
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from carom_common.adapters.egress.stopwatch import Stopwatch, connecting, shown_address


class _Protocol(ResponseHandler):
    """Knows to where its connection leads."""

    peer: str | None = None


class WatchedConnector(aiohttp.TCPConnector):
    """Tells a call's stopwatch when its connection is made, and to where."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.watches: dict[Task[Any] | None, Stopwatch | None] = {}
        """By the task that makes the call. A context variable for each call costs several times as much."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:
        watch = self.watches.get(current_task())
        if watch is not None and watch.ready:
            watch.seek()
        connection = await super().connect(req, traces, timeout)
        if watch is not None:
            protocol: Any = connection.protocol
            watch.address = protocol.peer
            watch.ready = perf_counter()
        return connection

    async def _wrap_create_connection(self, *args: Any, **options: Any) -> tuple[Transport, ResponseHandler]:
        watch = self.watches.get(current_task())

        def connected() -> _Protocol:
            # The loop asks for the protocol once it has the connected socket, and before it begins TLS. aiohttp's own
            # factory, the first argument, makes a plain ResponseHandler.
            if watch is not None:
                watch.connects(tls=options.get("ssl") is not None)
            return _Protocol(self._loop)

        token = connecting.set(watch)
        try:
            transport, protocol = await super()._wrap_create_connection(connected, *args[1:], **options)
        finally:
            connecting.reset(token)
        # A reset that came at once leaves no peer.
        assert isinstance(protocol, _Protocol)
        protocol.peer = shown_address(transport.get_extra_info("peername"))
        return transport, protocol
