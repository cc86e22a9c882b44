"""A response that goes on until its source ends, the client leaves, or the client takes nothing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from carom_common.adapters.store.batch import StoreUnavailable

SEND_SECONDS = 10.0
"""How long a client may take nothing before it is cut off."""

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(Response):
    """`text/event-stream`: `head`, then what `source` yields. However it ends, it lets go of what is `held`."""

    media_type = "text/event-stream"

    def __init__(
        self, head: bytes, source: AsyncGenerator[bytes, None] | None, held: contextlib.AsyncExitStack
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._head = head
        self._source = source
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            sending = asyncio.create_task(self._send_all(send))
            gone = asyncio.create_task(disconnected(receive))
            try:
                await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, gone):
                    task.cancel()
                ended = await asyncio.gather(sending, gone, return_exceptions=True)
                if self._source is not None:
                    await self._source.aclose()
            if isinstance(ended[0], Exception):
                raise ended[0]

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # Where the store is away a stream ends: the client comes back, and goes on where this one was.
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            await _send(send, self._head, more=True)
            if self._source is not None:
                async for chunk in self._source:
                    await _send(send, chunk, more=True)
        with contextlib.suppress(TimeoutError):
            await _send(send, b"", more=False)


async def _send(send: Send, body: bytes, *, more: bool) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def disconnected(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
