"""Real listeners on loopback, and the guarded egress to call them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from carom_common.adapters.egress import EgressClient, EgressError, GuardedTransport, OutboundRequest, OutboundResponse
from carom_common.domain.address_policy import AddressPolicy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 64 * 1024

Answer = bytes | Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request on a connection with the next answer (the last one again and again)."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [OK]
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(self.requests[-1], writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass


@asynccontextmanager
async def listening(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(*answers)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also of one that is cancelled before it begins

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def egress(
    *allow: str, deny: tuple[str, ...] = (), limit: int = LIMIT, seam: bool = False
) -> AsyncIterator[EgressClient]:
    transport: httpx.AsyncBaseTransport = GuardedTransport(AddressPolicy.parse(allow, deny))
    client = EgressClient(Delegate(transport) if seam else transport, max_response_bytes=limit)
    try:
        yield client
    finally:
        await client.close()


class Delegate(httpx.AsyncBaseTransport):
    """An extension's transport: not a GuardedTransport, so the client takes it for any other."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def get(client: EgressClient, url: str, timeout: float = 5.0, **fields: object) -> OutboundResponse:
    request = OutboundRequest("GET", url, {}, None, timeout)
    for name, value in fields.items():
        setattr(request, name, value)
    return await client.send(request)


async def failure(client: EgressClient, url: str, timeout: float = 5.0, **fields: object) -> EgressError:
    with pytest.raises(EgressError) as caught:
        await get(client, url, timeout, **fields)
    return caught.value


def response(body: bytes, *headers: str) -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


def redirect(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


both = pytest.mark.parametrize("seam", [False, True], ids=["open", "httpx"])


async def silence(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)
