"""A loop whose cost moves with the machine as that of a job does; `python -m bench.calibration` prints CPU-us a turn.

A turn is a request of some 400 bytes over loopback and its answer, both of JSON, with a digest of the body: syscalls,
an event loop, an interpreter, and a little of libraries in C.
"""

import asyncio
import hashlib
import time
from typing import cast

import msgspec
import uvloop

TURNS, AT_ONCE = 8000, 64
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass

    def data_received(self, data: bytes) -> None:
        self._transport.write(_encode({"digest": hashlib.sha256(data).hexdigest(), "given": _decode(data)}))


class _Ask(asyncio.Protocol):
    def __init__(self, left: list[int], done: asyncio.Future[None]) -> None:
        self._left, self._done = left, done
        self._body = {
            "url": "http://127.0.0.1/calibration",
            "headers": {"content-type": "application/json"},
            "n": "x" * 300,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass
        self._transport.write(_encode(self._body))

    def data_received(self, data: bytes) -> None:
        _decode(data)
        self._left[0] -= 1
        if self._left[0] > 0:
            self._transport.write(_encode(self._body))
        elif not self._done.done():
            self._done.set_result(None)


async def turns(count: int) -> None:
    """`count` turns over some connections at once."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    left, done = [count], loop.create_future()
    for _ in range(AT_ONCE):
        await loop.create_connection(lambda: _Ask(left, done), "127.0.0.1", port)
    await done
    server.close()


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(turns(TURNS // 8))
        before = time.process_time()
        runner.run(turns(TURNS))
        print((time.process_time() - before) / TURNS * 1e6)


if __name__ == "__main__":
    main()
