"""What happens to the processes of the services."""

import time
from random import Random

from tests.chaos.auditing import Audit
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage

from devstack.services import KINDS

GROUP = "services"
LEASE = 10.0


def kill_at_random(stage: Stage, rng: Random, seconds: float) -> None:
    """kill -9 of one replica after the other, of each service at least once."""
    victims = list(KINDS)
    rng.shuffle(victims)
    end = time.monotonic() + seconds
    while victims or time.monotonic() < end:
        stage.kill(stage.pick(rng, victims.pop() if victims else rng.choice(KINDS)))
        time.sleep(rng.uniform(0.5, 3))
    stage.await_ready()


def kill_all(stage: Stage, rng: Random, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        stage.kill(*stage.services)
        stage.await_ready()
        if time.monotonic() > end:
            return
        time.sleep(rng.uniform(1, 5))


def zombies(stage: Stage, rng: Random, seconds: float) -> None:
    """One replica stands still for longer than its leases, and goes on as if nothing had been."""
    end = time.monotonic() + seconds
    while True:
        stage.freeze(stage.pick(rng, "executor", "callback"), LEASE + rng.uniform(1, 3))
        if time.monotonic() > end:
            return


def roll_all(stage: Stage, rng: Random, seconds: float) -> None:
    """A rollout: every replica is replaced, one after the other."""
    end = time.monotonic() + seconds
    while True:
        for service in rng.sample(stage.services, len(stage.services)):
            stage.roll(service)
        if time.monotonic() > end:
            return


def never_refused(_stage: Stage, audit: Audit) -> None:
    assert set(audit.answers) == {"202"}, f"clients saw {dict(audit.answers)}"


SCENARIOS = [
    Scenario(GROUP, "kill-at-random", kill_at_random, 8, 300),
    Scenario(GROUP, "kill-all-at-once", kill_all, 0, 120),
    Scenario(GROUP, "zombies", zombies, 0, 120, recovers=45),
    Scenario(GROUP, "rolling-restart", roll_all, 0, 120, causes=frozenset(), check=never_refused),
]
