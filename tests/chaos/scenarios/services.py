"""What happens to the processes of the services."""

import contextlib
import time
from collections.abc import Mapping
from random import Random
from typing import cast

import psutil
from tests.chaos.auditing import Audit
from tests.chaos.clocks import ClockStage
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.load import Kind

from devstack.services import KINDS, Service

GROUP = "services"
LEASE = 10.0
HOUR = 3600
JUMP_SECONDS = 2.0
LARGE = Kind("large", "200:2000", 3, "completed", 1, fill=200_000)
LARGE_RATE = 20.0
ROOM = 6 * 1024 * 1024
OUT_OF_MEMORY_WITHIN = 20.0


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
    """Replicas stand still for longer than their leases; the broker gives their messages to others. Then they go on."""
    end = time.monotonic() + seconds
    while True:
        executor, callback = stage.pick(rng, "executor"), stage.pick(rng, "callback")
        with stage.frozen(executor), stage.frozen(callback):
            stage.cut(executor)
            stage.cut(callback)
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


def out_of_memory(stage: Stage, rng: Random, seconds: float) -> None:
    """Large jobs come; who needs more memory than its limit is killed in the middle of them, as a kernel does it."""
    end = time.monotonic() + seconds
    limits = {service.name: psutil.Process(service.pid).memory_info().rss + ROOM for service in stage.services}
    load = stage.drive(Random(rng.random()), {LARGE: 1})
    submitting = load.steady(LARGE_RATE)
    try:
        while True:
            give_up = time.monotonic() + OUT_OF_MEMORY_WITHIN
            while not (grown := _over(stage, limits)):
                assert time.monotonic() < give_up, "everybody does with the memory that there is"
                time.sleep(0.01)
            with stage.fault("out of memory", grown[0].name):
                stage.kill(grown[0])
            if time.monotonic() > end:
                break
    finally:
        load.stop()
        submitting.result(60)
    stage.await_ready()


def _over(stage: Stage, limits: Mapping[str, int]) -> list[Service]:
    """Replicas that have more memory than they may."""
    found = []
    for service in stage.services:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(service.pid).memory_info().rss > limits[service.name]:
                found.append(service)
    return found


def stalls(stage: Stage, rng: Random, seconds: float) -> None:
    """Event loops that get their turn only now and then: every replica stands still again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.ExitStack() as frozen:
            for service in rng.sample(stage.services, 3):
                frozen.enter_context(stage.frozen(service))
            time.sleep(rng.uniform(0.2, 0.8))
        time.sleep(rng.uniform(0.05, 0.2))


def clock_jumps(stage: Stage, rng: Random, seconds: float) -> None:
    """The wall clock of one process at a time is an hour fast or slow; its monotonic one goes on as it did."""
    end = time.monotonic() + seconds
    clocks = cast(ClockStage, stage)
    for kind, jump in rng.sample([(kind, jump) for kind in KINDS for jump in (HOUR, -HOUR)], 2 * len(KINDS)):
        victim = stage.pick(rng, kind)
        with stage.fault("clock", victim.name):
            clocks.set(victim, jump)
            time.sleep(JUMP_SECONDS)
            clocks.set(victim, 0)
        if time.monotonic() > end:
            return


def never_refused(_stage: Stage, audit: Audit) -> None:
    assert set(audit.answers) == {"202"}, f"clients saw {dict(audit.answers)}"


SCENARIOS = [
    Scenario(GROUP, "kill-at-random", kill_at_random, 4, 300),
    Scenario(GROUP, "kill-all-at-once", kill_all, 0, 120),
    Scenario(GROUP, "zombies", zombies, 0, 120, recovers=45),
    Scenario(GROUP, "out-of-memory", out_of_memory, 3, 120),
    Scenario(GROUP, "stalls", stalls, 4, 60),
    Scenario(GROUP, "rolling-restart", roll_all, 0, 120, causes=frozenset(), check=never_refused),
    Scenario(GROUP, "clock-jumps", clock_jumps, 10, 120, stage=ClockStage),
]
