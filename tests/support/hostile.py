"""A server that does to its clients whatever servers do that mean ill, or are broken: one host for each way of it.

It serves on all addresses of 127.0.0.0/8, so that each way is a destination of its own, with limits and a circuit of
its own. Every way ends when its client leaves.
"""

import asyncio
import contextlib
import gzip
import itertools
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, NamedTuple, Self

from tests.support.connections import Connections
from tests.support.witness import LoopThread

Speak = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request, of which it is told the base URL; the connection ends with it, unless it says otherwise."""
End = Literal["taken", "failed", "refused"]
"""What a client makes of it. taken: a response with 2xx; failed: not that, so try again; refused: try no more."""

DRIP_SECONDS = 0.05
_BOMB = 100 * 1024 * 1024


class Way(NamedTuple):
    name: str
    speak: Speak
    end: End
    redirects: bool = False
    """Needs a client that follows redirects."""
    scheme: str = "http"


async def for_ever(writer: asyncio.StreamWriter, piece: bytes, every: float = 0.0) -> None:
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(every)


def says(
    *pieces: bytes, then: Literal["close", "hang", "reset", "drip", "flood"] = "close", more: bytes = b""
) -> Speak:
    async def speak(_base: str, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
        with contextlib.suppress(RuntimeError):
            await writer.drain()
        if then == "hang":
            await asyncio.Event().wait()
        elif then == "reset":
            await asyncio.sleep(DRIP_SECONDS)
            reset(writer)
        elif then == "drip":
            await for_ever(writer, more, DRIP_SECONDS)
        elif then == "flood":
            await for_ever(writer, more)

    return speak


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def redirect(location: str, status: int = 302) -> Speak:
    """`{base}` and `{n}` in the location are where we are, and another number each time."""
    numbers = itertools.count()

    async def speak(base: str, writer: asyncio.StreamWriter) -> None:
        to = location.format(base=base, n=next(numbers))
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())

    return speak


def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1024 * 1024)
    return b"".join(packer.compress(zeros) for _ in range(_BOMB // len(zeros))) + packer.flush()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = HEAD + b"Content-Encoding: gzip\r\n"
MEGABYTE = b"x" * 1024 * 1024


def ways() -> list[Way]:
    bomb = _bomb()
    nested = gzip.compress(bomb)
    return [
        # Hangs, at every stage of a call
        Way("says nothing", says(then="hang"), "failed"),
        Way("hangs in the TLS handshake", says(then="hang"), "failed", scheme="https"),
        Way("hangs in the status line", says(b"HTTP/1.1 2", then="hang"), "failed"),
        Way("hangs in the headers", says(HEAD + b"Content-Type: te", then="hang"), "failed"),
        Way("hangs before the body", says(HEAD + b"Content-Length: 5\r\n\r\n", then="hang"), "failed"),
        Way("hangs in the body", says(HEAD + b"Content-Length: 5\r\n\r\nabc", then="hang"), "failed"),
        Way("hangs in a chunk", says(CHUNKED + b"5\r\nab", then="hang"), "failed"),
        Way("hangs after the last chunk", says(CHUNKED + b"5\r\nabcde\r\n0\r\n", then="hang"), "failed"),
        Way("drips headers", says(HEAD, then="drip", more=b"X: y\r\n"), "failed"),
        Way("drips a body", says(CHUNKED, then="drip", more=b"1\r\nx\r\n"), "failed"),
        # Ends that come too early, or in the wrong place
        Way("closes at once", says(), "failed"),
        Way("resets at once", says(then="reset"), "failed"),
        Way("resets in the headers", says(HEAD, then="reset"), "failed"),
        Way("resets in the body", says(HEAD + b"Content-Length: 5\r\n\r\nabc", then="reset"), "failed"),
        Way("says less than it promised", says(HEAD + b"Content-Length: 50\r\n\r\nshort"), "failed"),
        # aiohttp reads on for a next response, which this is not, before it hands over the first one.
        Way("says more than it promised", says(HEAD + b"Content-Length: 2\r\n\r\nok and more", then="hang"), "failed"),
        Way("answers twice", says(OK + b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", then="hang"), "taken"),
        # No HTTP
        Way("garbage", says(bytes(range(256)) * 16), "failed"),
        Way("another protocol", says(b"SSH-2.0-OpenSSH_9.2p1\r\n", then="hang"), "failed"),
        Way("plain text where TLS is due", says(OK), "failed", scheme="https"),
        Way("a status of four digits", says(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"), "failed"),
        Way("two lengths", says(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!"), "failed"),
        Way("a negative length", says(HEAD + b"Content-Length: -1\r\n\r\nok"), "failed"),
        Way("a length beyond all numbers", says(HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nok"), "failed"),
        Way("chunks that are none", says(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), "failed"),
        Way("a chunk longer than it says", says(CHUNKED + b"2\r\nhello\r\n0\r\n\r\n"), "failed"),
        Way("a chunk beyond all numbers", says(CHUNKED + b"f" * 40 + b"\r\nhello"), "failed"),
        Way("a chunk's extension without end", says(CHUNKED + b"5;", then="flood", more=b"x" * 10_000), "failed"),
        Way("a header without a name", says(HEAD + b": nobody\r\nContent-Length: 0\r\n\r\n"), "failed"),
        # Answers before the answer (RFC 9110, 15.2; RFC 8297)
        Way("100 Continue first", says(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK), "taken"),
        Way(
            "early hints first", says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" * 3 + OK), "taken"
        ),
        Way("early hints only", says(then="drip", more=b"HTTP/1.1 103 Early Hints\r\n\r\n"), "failed"),
        Way("a flood of 100 Continue", says(then="flood", more=b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "failed"),
        Way(
            "switches protocols unasked",
            says(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
            "refused",
        ),
        # Too much
        Way("an endless body", says(HEAD + b"\r\n", then="flood", more=b"x" * 65_536), "taken"),
        Way("endless chunks", says(CHUNKED, then="flood", more=b"2000\r\n" + b"x" * 8192 + b"\r\n"), "taken"),
        Way("a header of 1 MB", says(HEAD + b"X: " + MEGABYTE + b"\r\nContent-Length: 0\r\n\r\n"), "failed"),
        Way("100,000 headers", says(HEAD + b"X-%d: y\r\n" * 100_000 + b"\r\n"), "failed"),
        Way("headers without end", says(HEAD, then="flood", more=b"X-Same: y\r\n" * 1000), "failed"),
        Way("a reason of 1 MB", says(b"HTTP/1.1 200 " + MEGABYTE + b"\r\n\r\n"), "failed"),
        Way("a gzip bomb", says(GZIP + b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb), "taken"),
        Way("a gzip bomb in a gzip bomb", says(GZIP + b"Content-Length: %d\r\n\r\n" % len(nested) + nested), "taken"),
        Way("gzip that is none", says(GZIP + b"Content-Length: 5\r\n\r\nhello"), "failed"),
        Way("gzip cut short", says(GZIP + b"\r\n" + gzip.compress(b"hello" * 100)[:-9]), "failed"),
        # Round and round
        Way("a redirect to itself", redirect("{base}/"), "refused", redirects=True),
        Way("redirects without end", redirect("{base}/{n}", 307), "refused", redirects=True),
        Way("a redirect to nowhere", redirect("http://127.0.0.1:1/"), "failed", redirects=True),
        Way("a redirect to a forbidden address", redirect("http://169.254.169.254/"), "refused", redirects=True),
        Way("a redirect that is no URL", redirect("http://[::"), "refused", redirects=True),
    ]


class Hostile:
    """`with Hostile(thread) as hostile`, then `hostile.url(way)`."""

    def __init__(self, thread: LoopThread) -> None:
        self.ways = ways()
        self.met = dict.fromkeys((way.name for way in self.ways), 0)
        """Connections by way."""
        self._thread = thread
        self._port = 0
        self._connections = Connections(self._serve)
        self._full: list[socket.socket] = []

    def url(self, way: Way) -> str:
        return f"{way.scheme}://{self._host(way)}:{self._port}/"

    def full(self) -> str:
        """The URL of a host whose queue of connections is full: a connect to it hangs."""
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        self._full.append(listener)
        for _ in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
            self._full.append(waiting)
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    def _host(self, way: Way) -> str:
        return f"127.66.0.{1 + self.ways.index(way)}"

    def __enter__(self) -> Self:
        self._thread.run(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._thread.run(self._stop())
        for held in self._full:
            held.close()

    async def _start(self) -> None:
        self._port = await self._connections.listen("0.0.0.0")

    async def _stop(self) -> None:
        await self._connections.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = writer.get_extra_info("sockname")[0]
        way = self.ways[int(host.rpartition(".")[2]) - 1]
        self.met[way.name] += 1
        try:
            if way.scheme == "http":
                # The body of the request stays where it is: who answers early does not wait for it.
                await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            writer.close()
            return
        gone = asyncio.ensure_future(_until_gone(reader))
        speaking = asyncio.ensure_future(way.speak(f"http://{host}:{self._port}", writer))
        try:
            await asyncio.wait((speaking, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (speaking, gone):
                task.cancel()
            await asyncio.gather(speaking, gone, return_exceptions=True)
            writer.close()


async def _until_gone(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65_536):
            pass
