"""RabbitMQ and Redis restart, die, forget and are wiped under load: the services survive it, and every 202 is kept."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis as RedisClient
from tests.support.load import Load
from tests.support.scenario import Scenario, assert_all_kept
from tests.support.servers import Servers, assert_no_work_left, start_servers
from tests.support.witness import LoopThread, Witness

from carom_common.adapters.store.batch import Batcher
from devstack.probe import status_of
from devstack.process import wait_until
from devstack.services import Stack

pytestmark = pytest.mark.fault

RATE = 60
BEFORE, AFTER = 2.0, 3.0
"""Seconds of load before the fault and after it."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of this module's own: it breaks them."""
    yield from start_servers(tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="module")
def stack(servers: Servers) -> Iterator[Stack]:
    with servers.stack("servers", {"executor": 2, "callback": 2}) as started:
        yield started


Pids = dict[str, int | None]


@pytest.fixture(scope="module")
def pids(stack: Stack) -> Pids:
    """Who ran at the start of the module: nobody may be replaced until its end."""
    return {service.name: service.pid for service in stack.services}


def restart_rabbitmq(servers: Servers) -> None:
    servers.rabbitmq.restart()


def kill_rabbitmq(servers: Servers) -> None:
    servers.rabbitmq.kill()
    servers.rabbitmq.start()


def restart_redis(servers: Servers) -> None:
    servers.redis.restart()


def kill_redis(servers: Servers) -> None:
    servers.redis.kill()
    servers.redis.start()


def forget_a_second(servers: Servers) -> None:
    """What a power cut does with `appendfsync everysec`: kill -9 alone leaves the page cache as it is."""
    sizes = {path: path.stat().st_size for path in append_only_files(servers.redis.directory)}
    time.sleep(1)
    servers.redis.kill()
    for path, size in sizes.items():
        with path.open("r+b") as file:
            file.truncate(size)
    servers.redis.start()


def append_only_files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*.aof*") if path.is_file() and path.suffix != ".manifest"]


def wipe_redis(servers: Servers) -> None:
    with RedisClient.from_url(servers.redis.url) as client:
        client.flushall()


FAULTS: list[tuple[str, Callable[[Servers], None]]] = [
    ("rabbitmq restart", restart_rabbitmq),
    ("rabbitmq kill -9", kill_rabbitmq),
    ("redis restart", restart_redis),
    ("redis kill -9", kill_redis),
    ("redis power cut", forget_a_second),
    ("redis flushall", wipe_redis),
]
FORGETFUL = (forget_a_second, wipe_redis)


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS])
def test_server(
    fault: Callable[[Servers], None],
    servers: Servers,
    stack: Stack,
    pids: Pids,
    witness: Witness,
    loop_thread: LoopThread,
    scenario: Scenario,
) -> None:
    scenario.load = load = Load(stack.api, witness, loop_thread)
    submitting = load.steady(RATE)
    assert wait_until(lambda: len(load.accepted) > RATE * BEFORE / 2, 10)
    time.sleep(BEFORE / 2)
    scenario.broken()
    fault(servers)
    ended = time.monotonic()
    # Intake recovers by itself: what it takes now was accepted after the fault.
    assert wait_until(lambda: any(at > ended for _, at in list(load.accepted.values())), 30)
    scenario.recovered()
    time.sleep(AFTER)
    load.stop()
    submitting.result(30)
    load.await_callbacks(45)

    assert_all_kept(load)
    assert {service.name: service.pid for service in stack.services} == pids
    assert all(service.alive and status_of(f"{service.admin}/readyz") == 200 for service in stack.services)
    records = load.records() if fault in FORGETFUL else load.settled_records()
    stale = load.stale(records)
    scenario.stale, scenario.note = len(stale), f"{load.refused} refused"
    if fault in FORGETFUL:
        # History may be lost, not the jobs that still had something before them.
        worked_on = {job_id for job_id in load.accepted if witness.taken(job_id)[-1].at > ended}
        assert not worked_on & set(stale)
    else:
        assert not stale


class ResettingProxy:
    """In front of Redis: resets every connection on demand, as a router does that has forgotten them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clients: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def reset(self) -> None:
        for client in self._clients:
            linger = struct.pack("ii", 1, 0)
            client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.transport.abort()
        self._clients.clear()

    def stop(self) -> None:
        self.reset()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(writer)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        while data := await source.read(65536):
            sink.write(data)
    sink.close()


def test_idle_redis_connection_is_reset(servers: Servers, loop_thread: LoopThread) -> None:
    """The next commands are answered: uvloop raises RuntimeError, of all things, when the transport is closed."""

    async def ping_after_reset() -> list[object]:
        proxy = ResettingProxy(servers.redis.port)
        batcher = Batcher(f"redis://127.0.0.1:{await proxy.start()}/0")
        try:
            await batcher.run("PING")
            proxy.reset()
            await asyncio.sleep(0.2)
            async with asyncio.timeout(10):
                return list(await asyncio.gather(*(batcher.run("PING") for _ in range(3))))
        finally:
            await batcher.close()
            proxy.stop()

    assert loop_thread.run(ping_after_reset()) == [b"PONG"] * 3


def test_nothing_is_left(servers: Servers, scenarios: list[Scenario]) -> None:
    assert_no_work_left(servers)
    for scenario in scenarios:
        if scenario.load:
            assert_all_kept(scenario.load)
