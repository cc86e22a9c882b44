"""Redis with a replica and Sentinels. Carom asks no Sentinel: its one address leads to the primary of the day, late."""

import time
from pathlib import Path
from random import Random
from typing import cast

from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.failover import RedisFailover, client
from tests.support.link import Link

from devstack.process import wait_until
from devstack.servers import Redis

GROUP = "sentinel"

BEHIND_SECONDS = 2.0
STALE_SECONDS = 3.0


class FailoverStage(Stage):
    """The services reach the store through a balancer, which follows what the Sentinels say."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.redises = RedisFailover(directory / "failover")
        self.way = Link(self.thread, lambda: self.redises.address)

    def start_servers(self) -> None:
        self._exits.enter_context(self.rabbitmq)
        self._exits.enter_context(self.redises)
        self._exits.enter_context(self.way)

    def store_url(self) -> str:
        return f"redis://{self.way.address}/0"

    def await_replica(self) -> None:
        assert wait_until(self.redises.is_replicating, 30, 0.1), "the replica does not follow"


def lose_writes(stage: Stage, _rng: Random, seconds: float) -> None:
    """The replica stops following, the primary takes more, and dies: what it took meanwhile is gone."""
    there = cast(FailoverStage, stage)
    end = time.monotonic() + seconds
    while True:
        primary, replica = there.redises.primary, there.redises.replica
        with there.fault("failover"):
            _cut_off(replica)
            with client(primary) as taken:
                taken.set("carom:chaos", "taken")
            time.sleep(BEHIND_SECONDS)
            primary.kill()
            there.redises.await_primary(replica)
            with client(replica) as promoted:
                assert promoted.get("carom:chaos") is None, "no write was lost: nothing was tried"
            there.await_ready()
        primary.start()
        there.await_replica()
        if time.monotonic() > end:
            return


def _cut_off(replica: Redis) -> None:
    with client(replica) as cut_off:
        # To where nobody is. Sentinels would mend it, but later than they need to see the primary gone.
        cut_off.execute_command("REPLICAOF", "127.0.0.1", "1")


def reach_a_replica(stage: Stage, _rng: Random, seconds: float) -> None:
    """A failover in good order, and an address that leads to the old primary still: it refuses every write."""
    there = cast(FailoverStage, stage)
    end = time.monotonic() + seconds
    while True:
        primary, replica = there.redises.primary, there.redises.replica
        with there.fault("failover"):
            there.redises.following = False
            try:
                there.redises.fail_over_to(replica)
                there.await_replica()
                opened = there.way.opened
                time.sleep(STALE_SECONDS)
                assert there.way.opened > opened, "nobody looked again where the address leads"
                assert there.redises.address == (primary.place.host, primary.port)
            finally:
                there.redises.following = True
            there.redises.await_address(replica)
            there.await_ready()
        if time.monotonic() > end:
            return


SCENARIOS = [
    Scenario(GROUP, "writes-lost", lose_writes, 0, 120, FailoverStage, records=False),
    Scenario(GROUP, "read-only-replica", reach_a_replica, 0, 120, FailoverStage, records=False),
]
