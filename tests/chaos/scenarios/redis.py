"""What happens to a single Redis, and to the connections to it."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import cast

from redis import Redis
from tests.chaos.clocks import HOUR, ClockStage
from tests.chaos.driving import WITH_DEAD_CALLBACKS
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage

from devstack.process import wait_until

GROUP = "redis"
FILL = 50_000
"""Keys of a kilobyte, so that writing them anew takes longer than a kill."""
DEAD_PORT = "1"
"""Nobody is there to replicate from."""


@contextmanager
def client(stage: Stage) -> Iterator[Redis]:
    with Redis.from_url(stage.redis.url) as made:
        yield made


def restart(stage: Stage, _rng: Random, seconds: float) -> None:
    with stage.fault("store"):
        stage.redis.stop()
        time.sleep(seconds)
        stage.redis.start()


def restart_empty(stage: Stage, _rng: Random, seconds: float) -> None:
    with stage.fault("store"):
        stage.redis.stop()
        for path in append_only_files(stage.redis.directory):
            path.unlink()
        shutil.rmtree(stage.redis.directory / "appendonlydir", ignore_errors=True)
        time.sleep(seconds)
        stage.redis.start()


def kill_while_rewriting(stage: Stage, rng: Random, seconds: float) -> None:
    """kill -9 of Redis, and of the child that is writing its append-only file anew."""
    end = time.monotonic() + seconds
    while True:
        with stage.fault("store"), client(stage) as redis:
            redis.config_set("auto-aof-rewrite-percentage", 0)  # it would be in the way
            redis.mset({f"chaos:fill:{number}": "x" * 1000 for number in range(FILL)})
            redis.bgrewriteaof()
            writes = wait_until(lambda: redis.info("persistence")["aof_rewrite_in_progress"] == 1, 5, 0.001)
            stage.redis.kill()
            stage.redis.start()
            redis.delete(*redis.keys("chaos:fill:*"))
            redis.bgrewriteaof()  # or the file is larger each time
            assert writes, "nothing was being written anew"
        if time.monotonic() > end:
            return
        time.sleep(rng.uniform(1, 5))


def power_cut(stage: Stage, _rng: Random, seconds: float) -> None:
    """What `appendfsync everysec` may lose: kill -9 alone leaves the page cache as it is."""
    with stage.fault("store"):
        sizes = {path: path.stat().st_size for path in append_only_files(stage.redis.directory)}
        time.sleep(1)
        stage.redis.kill()
        for path, size in sizes.items():
            with path.open("r+b") as file:
                file.truncate(size)
        time.sleep(seconds)
        stage.redis.start()


def append_only_files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*.aof*") if path.is_file() and path.suffix != ".manifest"]


def out_of_memory(stage: Stage, _rng: Random, seconds: float) -> None:
    """`noeviction` and no room: every write is answered with OOM."""
    with stage.fault("store"), client(stage) as redis:
        redis.config_set("maxmemory", "1mb")
        time.sleep(seconds)
        redis.config_set("maxmemory", "0")


def slow(stage: Stage, _rng: Random, seconds: float) -> None:
    """No answer for so long, and then all of them."""
    with stage.fault("store"):
        stage.redis.freeze()
        time.sleep(seconds)
        stage.redis.resume()


def read_only(stage: Stage, _rng: Random, seconds: float) -> None:
    """A replica whose master is gone: every write is answered with READONLY."""
    with stage.fault("store"), client(stage) as redis:
        redis.replicaof("127.0.0.1", DEAD_PORT)
        time.sleep(seconds)
        redis.replicaof("NO", "ONE")


def flush_scripts(stage: Stage, rng: Random, seconds: float) -> None:
    end = time.monotonic() + seconds
    with client(stage) as redis:
        while time.monotonic() < end:
            with stage.fault("store"):
                redis.script_flush()
            time.sleep(rng.uniform(0.01, 0.3))


def kill_clients(stage: Stage, rng: Random, seconds: float) -> None:
    end = time.monotonic() + seconds
    with client(stage) as redis:
        while time.monotonic() < end:
            with stage.fault("store"):
                redis.client_kill_filter(_type="normal", skipme=True)
            time.sleep(rng.uniform(0.1, 1))


def clock_jumps(stage: Stage, rng: Random, seconds: float) -> None:
    """The clock by which leases run is an hour fast, then slow; each time somebody dies whose leases are of before."""
    clocks = cast(ClockStage, stage)
    end = time.monotonic() + seconds
    while True:
        for jump in (HOUR, 0, -HOUR, 0) if seconds else (HOUR, 0):
            with stage.fault("clock"):
                _move(clocks, jump)
                stage.kill(stage.pick(rng, "executor"), stage.pick(rng, "callback"))
            stage.await_ready()
        if time.monotonic() > end:
            return


def _move(stage: ClockStage, ahead: int) -> None:
    stage.store.set(ahead)
    with client(stage) as redis:
        moved = wait_until(lambda: abs(redis.time()[0] - time.time() - ahead) < 2, 10, 0.1)
    assert moved, "the store has the time of before"


SCENARIOS = [
    Scenario(GROUP, "restart", restart, 0, 30, kinds=WITH_DEAD_CALLBACKS),
    Scenario(GROUP, "restart-without-data", restart_empty, 0, 30, records=False),
    Scenario(GROUP, "kill-while-rewriting", kill_while_rewriting, 0, 60),
    Scenario(GROUP, "power-cut", power_cut, 0, 30, records=False),
    Scenario(GROUP, "out-of-memory", out_of_memory, 3, 60),
    Scenario(GROUP, "slow", slow, 3, 30),
    Scenario(GROUP, "read-only", read_only, 3, 60),
    Scenario(GROUP, "script-flush", flush_scripts, 3, 60),
    Scenario(GROUP, "client-kill", kill_clients, 3, 60),
    Scenario(GROUP, "clock-jumps", clock_jumps, 0, 60, stage=ClockStage),
]
