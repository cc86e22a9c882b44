"""Replies of a real Redis as they come: in pieces, beside pushes, as errors."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import hiredis
import pytest
from redis.exceptions import BusyLoadingError, MasterDownError, NoScriptError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.integration.conftest import Servers

from carom_common.adapters.store import batch
from carom_common.adapters.store.batch import Batcher, Command, StoreUnavailable
from carom_common.adapters.store.connection import Connection
from carom_common.adapters.store.pool import connection_pool
from carom_common.tls import NO_FILES
from devstack.servers import Redis

pytestmark = pytest.mark.stack


def packed(*commands: Command) -> bytes:
    return b"".join(map(hiredis.pack_command, commands))


def failing(reply: str) -> Command:
    return ("EVAL", f"return redis.error_reply('{reply}')", 0)


@pytest.fixture
async def connection(servers: Servers) -> AsyncIterator[Connection]:
    pool = connection_pool(f"{servers.redis.url}/9", NO_FILES)
    connection = await Connection.open(pool)
    yield connection
    await connection.close()
    await pool.aclose()


async def test_replies_come_in_the_order_of_the_commands(connection: Connection) -> None:
    large = "x" * 3_000_000  # many segments

    replies = await connection.exchange(packed(("SET", "a", large), ("GET", "a"), ("DEL", "a")), 3)

    assert replies == [b"OK", large.encode(), 1]


async def test_errors_take_the_place_of_results(connection: Connection) -> None:
    kinds = {
        "LOADING Redis is loading": BusyLoadingError,
        "READONLY You can't write": ReadOnlyError,
        "MASTERDOWN Link is down": MasterDownError,
        "NOSCRIPT No matching script": NoScriptError,
    }
    asked = [failing(reply.replace("'", "\\'")) for reply in kinds]

    *errors, after = await connection.exchange(packed(*asked, ("ECHO", "after")), 5)

    assert [type(error) for error in errors] == list(kinds.values())
    assert after == b"after"


async def test_pushes_are_no_replies(connection: Connection) -> None:
    await connection.exchange(packed(("CLIENT", "TRACKING", "ON", "BCAST")), 1)

    for n in range(3):  # each write is pushed too, before or after its reply
        key = f"pushed-{n}"
        assert await connection.exchange(packed(("SET", key, n), ("GET", key), ("DEL", key)), 3) == [
            b"OK",
            b"%d" % n,
            1,
        ]


async def test_a_connection_that_was_closed_says_so_from_then_on(connection: Connection) -> None:
    [number] = await connection.exchange(packed(("CLIENT", "ID")), 1)
    with pytest.raises(RedisConnectionError):
        await connection.exchange(packed(("CLIENT", "KILL", "ID", number, "SKIPME", "no"), ("PING",), ("PING",)), 9)
    with pytest.raises(RedisConnectionError):
        await connection.exchange(packed(("PING",)), 1)


async def test_more_replies_than_commands_end_the_connection(connection: Connection) -> None:
    with pytest.raises(RedisConnectionError, match="more replies"):
        await connection.exchange(packed(("ECHO", "a"), ("ECHO", "b")), 1)
    with pytest.raises(RedisConnectionError):
        await connection.exchange(packed(("PING",)), 1)


@pytest.mark.parametrize("kind", ["LOADING", "MASTERDOWN", "READONLY"])
async def test_a_server_that_cannot_help_is_left(servers: Servers, kind: str) -> None:
    batcher = Batcher(f"{servers.redis.url}/9")
    try:
        before = await batcher.run("CLIENT", "ID")
        with pytest.raises(StoreUnavailable, match="for now"):
            await batcher.run(*failing(f"{kind} for now"))
        assert await batcher.run("CLIENT", "ID") != before
    finally:
        await batcher.close()


async def test_a_store_that_says_nothing_is_not_waited_for_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits behind a command without an answer fails with it; what nobody waits for is sent in the end."""
    monkeypatch.setattr(batch, "SOCKET_SECONDS", 0.5)
    with Redis(tmp_path / "redis") as server:
        batcher = Batcher(server.url)
        await batcher.run("PING")
        server.freeze()
        waiting = [asyncio.create_task(batcher.run("PING")) for _ in range(500)]
        await asyncio.sleep(0.1)
        batcher.post(("SET", "posted", "1"))
        started = time.monotonic()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        assert time.monotonic() - started < 3, "500 are eight batches, of 0.5 s each"
        server.resume()
        assert await batcher.run("GET", "posted") == b"1"
        await batcher.close()
