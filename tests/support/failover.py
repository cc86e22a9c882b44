"""A Redis primary, its replica, and three Sentinels that promote the replica when the primary is gone."""

import contextlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis as Client
from redis.exceptions import RedisError

from devstack.errors import DevstackError
from devstack.paths import redis_binary
from devstack.process import Process, clean_environment, wait_until
from devstack.servers import Redis

NAME = "carom"
SENTINELS, QUORUM = 3, 2
DOWN_AFTER_MS, FAILOVER_MS = 1000, 10_000
LOOK_SECONDS = 0.1
ORDERS = 3


class Sentinel(Redis):
    """One Sentinel, which keeps what it learns in its configuration file."""

    label = "Sentinel"

    def __init__(self, directory: Path, watched: Redis) -> None:
        super().__init__(directory)
        self._watched = watched

    def _prepare(self) -> Process:
        configuration = self.directory / "sentinel.conf"
        if not configuration.exists():
            lines = (
                f"port {self.port}",
                f"bind {self.place.host}",
                f"dir {self.directory}",
                f"sentinel monitor {NAME} {self._watched.place.host} {self._watched.port} {QUORUM}",
                f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
                f"sentinel failover-timeout {NAME} {FAILOVER_MS}",
            )
            configuration.write_text("\n".join(lines) + "\n")
        command = [redis_binary("redis-server"), str(configuration), "--sentinel"]
        return Process("sentinel", command, clean_environment(), self.log)


class RedisFailover:
    """`with RedisFailover(directory) as redises`. `primary` is whom the Sentinels name; `address` follows it.

    While `following` is False the address stays what it is, and goes stale.
    """

    def __init__(self, directory: Path) -> None:
        first = Redis(directory / "redis1")
        second = Redis(directory / "redis2", settings={"replicaof": f"{first.place.host} {first.port}"})
        self.servers = [first, second]
        self.sentinels = [Sentinel(directory / f"sentinel{number}", first) for number in range(1, SENTINELS + 1)]
        self.following = True
        self.address: tuple[str, int] | None = (first.place.host, first.port)
        self._exits = contextlib.ExitStack()
        self._closing = threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True)

    @property
    def primary(self) -> Redis:
        """Whom a majority of the Sentinels names."""
        named = [port for sentinel in self.sentinels if (port := _named_by(sentinel))]
        most = max(named, key=named.count, default=None)
        found = next((server for server in self.servers if server.port == most), None)
        if found is None:
            raise DevstackError("no Sentinel names a primary")
        return found

    @property
    def replica(self) -> Redis:
        primary = self.primary
        return next(server for server in self.servers if server is not primary)

    def is_replicating(self) -> bool:
        """Whether the replica has all that the primary has, and goes on."""
        with contextlib.suppress(RedisError, DevstackError), client(self.replica) as replica:
            info = replica.info("replication")
            return bool(info["role"] == "slave" and info["master_link_status"] == "up")
        return False

    def await_primary(self, server: Redis, seconds: float = 30) -> None:
        """Until the Sentinels name this one, and it takes writes."""

        def promoted() -> bool:
            with contextlib.suppress(RedisError, DevstackError), client(server) as asked:
                return self.primary is server and asked.info("replication")["role"] == "master"
            return False

        if not wait_until(promoted, seconds, LOOK_SECONDS):
            raise DevstackError(f"Redis on port {server.port} was not promoted within {seconds:.0f} s")

    def await_address(self, server: Redis, seconds: float = 10) -> None:
        """Until the address leads to this one."""
        if not wait_until(lambda: self.address == (server.place.host, server.port), seconds, LOOK_SECONDS):
            raise DevstackError(f"the address does not lead to Redis on port {server.port}")

    def fail_over_to(self, server: Redis) -> None:
        """With both servers in good order, as a Sentinel is told; again where another one undoes it.

        One that has not seen this server as a replica since the last time takes it for a primary that came back.
        """
        for _ in range(ORDERS - 1):
            self._order_failover()
            with contextlib.suppress(DevstackError):
                self.await_primary(server, 1.5 * FAILOVER_MS / 1000)
                return
        self._order_failover()
        self.await_primary(server)

    def _order_failover(self) -> None:
        with contextlib.suppress(RedisError), client(self.sentinels[0]) as asked:
            asked.execute_command("SENTINEL", "FAILOVER", NAME)

    def __enter__(self) -> Self:
        try:
            for server in (*self.servers, *self.sentinels):
                self._exits.enter_context(server)
            if not wait_until(lambda: self.is_replicating() and self._know_each_other(), 30, LOOK_SECONDS):
                raise DevstackError("the Sentinels do not find the replica and each other")
        except BaseException:
            self._exits.close()
            raise
        self._follower.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.set()
        self._follower.join(10)
        self._exits.close()

    def _know_each_other(self) -> bool:
        with contextlib.suppress(RedisError):
            for sentinel in self.sentinels:
                with client(sentinel) as asked:
                    about = asked.sentinel_master(NAME)
                if about["num-slaves"] != 1 or about["num-other-sentinels"] != SENTINELS - 1:
                    return False
            return True
        return False

    def _follow(self) -> None:
        """What keeps a Service or a balancer pointed at the primary of the day."""
        while not self._closing.wait(LOOK_SECONDS):
            with contextlib.suppress(DevstackError):
                primary = self.primary
                if self.following:
                    self.address = (primary.place.host, primary.port)


def client(server: Redis) -> Client:
    return Client.from_url(server.url, socket_timeout=2, decode_responses=True)


def _named_by(sentinel: Sentinel) -> int | None:
    with contextlib.suppress(RedisError), client(sentinel) as asked:
        found = asked.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return int(found[1]) if found else None
    return None
