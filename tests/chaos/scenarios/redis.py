"""What happens to a single Redis, and to the connections to it."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from redis import Redis
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage

GROUP = "redis"
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


def kill_while_rewriting(stage: Stage, _rng: Random, _seconds: float) -> None:
    """kill -9 of Redis, and of the child that is writing its append-only file anew."""
    with stage.fault("store"), client(stage) as redis:
        redis.bgrewriteaof()
        stage.redis.kill()
        stage.redis.start()


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


SCENARIOS = [
    Scenario(GROUP, "restart", restart, 0, 30),
    Scenario(GROUP, "restart-without-data", restart_empty, 0, 30, records=False),
    Scenario(GROUP, "kill-while-rewriting", kill_while_rewriting),
    Scenario(GROUP, "power-cut", power_cut, 0, 30, records=False),
    Scenario(GROUP, "out-of-memory", out_of_memory, 3, 60),
    Scenario(GROUP, "slow", slow, 3, 30),
    Scenario(GROUP, "read-only", read_only, 3, 60),
    Scenario(GROUP, "script-flush", flush_scripts, 3, 60),
    Scenario(GROUP, "client-kill", kill_clients, 3, 60),
]
