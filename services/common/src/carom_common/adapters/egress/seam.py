"""Any httpx transport in place of the guarded one, for tests and extensions. It is then its own guard."""

from collections.abc import AsyncIterator, Mapping
from time import perf_counter

import httpx

from carom_common.adapters.egress.errors import EgressError
from carom_common.adapters.egress.stopwatch import Stopwatch


class HttpxOpener:
    """`GuardedTransport.open` over another transport. Nothing is known of its connections, so only totals are timed."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def open(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, watch: Stopwatch
    ) -> "HttpxExchange":
        watch.ready = perf_counter()
        try:
            request = httpx.Request(method, url, headers=headers, content=body)
            response = await self._transport.handle_async_request(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _translate(error) from None
        watch.answered = perf_counter()
        return HttpxExchange(response)

    async def aclose(self) -> None:
        await self._transport.aclose()


class HttpxExchange:
    __slots__ = ("_chunks", "_response", "headers", "status")

    def __init__(self, response: httpx.Response) -> None:
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("the transport answered with a synchronous stream")
        self._response = response
        self._chunks: AsyncIterator[bytes] = aiter(response.stream)
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        try:
            async for chunk in self._chunks:
                if chunk:
                    return chunk
        except httpx.HTTPError as error:
            raise _translate(error) from None
        return b""

    async def close(self) -> None:
        await self._response.aclose()


def _translate(error: Exception) -> EgressError:
    if isinstance(error.__cause__, EgressError):
        return error.__cause__
    match error:
        case httpx.TimeoutException():
            return EgressError("timeout", "timed out")
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return EgressError("invalid-url", "the URL is not valid")
        case httpx.ConnectError():
            return EgressError("connect", "the connection failed")
        case _:
            return EgressError("protocol", "the response is not valid HTTP")
