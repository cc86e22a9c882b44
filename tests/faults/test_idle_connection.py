"""A connection to Redis that was reset while nobody used it: the next commands are answered."""

import asyncio
import time

import pytest
from tests.support.link import Link
from tests.support.servers import Servers
from tests.support.witness import LoopThread

from carom_common.adapters.store.batch import Batcher

pytestmark = pytest.mark.fault


def test_idle_redis_connection_is_reset(steady_servers: Servers, loop_thread: LoopThread) -> None:
    """The next commands are answered: uvloop raises RuntimeError, of all things, when the transport is closed."""

    async def connect(address: str) -> Batcher:
        batcher = Batcher(f"redis://{address}/0")
        await batcher.run("PING")
        return batcher

    async def ping(batcher: Batcher) -> list[object]:
        async with asyncio.timeout(10):
            return list(await asyncio.gather(*(batcher.run("PING") for _ in range(3))))

    with Link(loop_thread, ("127.0.0.1", steady_servers.redis.port)) as link:
        batcher = loop_thread.run(connect(link.address))
        try:
            assert link.cut() == 1
            time.sleep(0.2)
            assert loop_thread.run(ping(batcher)) == [b"PONG"] * 3
        finally:
            loop_thread.run(batcher.close())
