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
    """One replica stands still for longer than its leases; the broker gives its messages to others. Then it goes on."""
    end = time.monotonic() + seconds
    while True:
        zombie = stage.pick(rng, "executor", "callback")
        with stage.frozen(zombie):
            stage.cut(zombie)
            time.sleep(LEASE + rng.uniform(1, 3))
        if time.monotonic() > end:
            return


def roll_all(stage: Stage, rng: Random, seconds: float) -> None:
    """A rollout of all three services: each has one replica replaced at a time."""
    end = time.monotonic() + seconds
    while True:
        stage.roll(*(stage.pick(rng, kind) for kind in KINDS))
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
