"""What happens to the processes of the services."""

import contextlib
import itertools
import time
from collections.abc import Mapping
from random import Random
from typing import cast

import psutil
from tests.chaos.auditing import Audit
from tests.chaos.clocks import HOUR, ClockStage
from tests.chaos.driving import WITH_DEAD_CALLBACKS
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.load import Kind

from devstack.process import wait_until
from devstack.services import KINDS, Service

GROUP = "services"
LEASE = 10.0
BACK_SECONDS = 3.0
"""Until a clock that was put right is seen to be."""
LARGE = Kind("large", "200:2000", 3, "completed", 1, fill=200_000)
LARGE_RATE = 20.0
ROOM = 6 * 1024 * 1024
PATIENCE = 3.0
"""Seconds after which the one that grew most has had enough: a heap that has held large jobs before need not grow."""


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
    before = {service.name: _memory(service) for service in stage.services}
    load = stage.drive(Random(rng.random()), {LARGE: 1})
    submitting = load.steady(LARGE_RATE)
    try:
        while True:
            victim = _grown(stage, before)
            with stage.fault("out of memory", victim.name):
                stage.kill(victim)
            if time.monotonic() > end:
                break
    finally:
        load.stop()
        submitting.result(60)
    stage.await_ready()


def _grown(stage: Stage, before: Mapping[str, int]) -> Service:
    """The replica that first has more memory than its limit lets it; after a while the one that grew most."""
    give_up = time.monotonic() + PATIENCE
    while True:
        growth = {service.name: _memory(service) - before[service.name] for service in stage.services}
        most = max(stage.services, key=lambda service: growth[service.name])
        if growth[most.name] > ROOM or time.monotonic() > give_up:
            return most
        time.sleep(0.01)


def _memory(service: Service) -> int:
    """Resident bytes; none of a process that is dead."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(service.pid).memory_info().rss
    return 0


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
    jumps = [(kind, jump) for kind in KINDS for jump in (HOUR, -HOUR)]
    rng.shuffle(jumps)
    last = ""
    for kind, jump in itertools.cycle(jumps):
        victim = rng.choice([each for each in stage.stack.of(kind) if each.name != last])
        last = victim.name
        with stage.fault("clock", victim.name):
            _jump(clocks, victim, jump)
            time.sleep(min(seconds, rng.uniform(0, LEASE)))
            clocks.clocks[victim.name].set(0)
            time.sleep(BACK_SECONDS)
        if time.monotonic() > end:
            return


def _jump(stage: ClockStage, victim: Service, ahead: int) -> None:
    doubts = stage.logged(victim, "clock_doubted")
    stage.clocks[victim.name].set(ahead)
    seen = wait_until(lambda: stage.logged(victim, "clock_doubted") > doubts, 10, 0.1)
    assert seen, f"{victim.name} did not notice that its clock jumped"


def never_refused(_stage: Stage, audit: Audit) -> None:
    assert set(audit.answers) == {"202"}, f"clients saw {dict(audit.answers)}"


SCENARIOS = [
    Scenario(GROUP, "kill-at-random", kill_at_random, 4, 300, kinds=WITH_DEAD_CALLBACKS),
    Scenario(GROUP, "kill-all-at-once", kill_all, 0, 120),
    Scenario(GROUP, "zombies", zombies, 0, 120, recovers=45),
    # What is large and was never finished is done first, two seconds each.
    Scenario(GROUP, "out-of-memory", out_of_memory, 3, 120, recovers=90),
    Scenario(GROUP, "stalls", stalls, 4, 60),
    Scenario(GROUP, "rolling-restart", roll_all, 0, 120, causes=frozenset(), check=never_refused),
    Scenario(GROUP, "clock-jumps", clock_jumps, 8, 120, stage=ClockStage, causes=frozenset()),
]
