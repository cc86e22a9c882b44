"""`python -m tests.chaos.soak`: hours at half of capacity with random faults, and nothing may leak.

Faults hit the second replica of each service; the first lives from beginning to end, and is the one that is measured.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, ClassVar, NamedTuple

import psutil
from redis import Redis
from tests.chaos.running import run
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import ALL
from tests.chaos.stage import Stage

from devstack.probe import call
from devstack.process import wait_until
from devstack.services import KINDS, Service

MIB = 1024 * 1024
RETENTION = 120
SWEPT_WITHIN = RETENTION + 90.0
"""Seconds after which nothing of a job is in the store any more."""
ROUND_SECONDS = 20.0
WARM_ROUNDS = 2
WARM_PART = 1 / 3
"""Of the time: what is larger at the end than at its largest until then has leaked. Heaps keep the room that the
largest messages took once: oversized ones are among the faults, and each of the allocator's arenas meets them."""
SPARING = ("kill-all-at-once", "out-of-memory")
"""What would not leave the measured replicas alone."""
ALLOWED: Mapping[str, float] = {"rss": 40.0, "fds": 30, "tasks": 20, "connections": 4, "queues": 0, "keys": 300}
"""By how much each may be larger at the end: memory in MiB, the others in pieces."""


class SoakStage(Stage):
    """Records are kept briefly; the first replicas are spared."""

    env: ClassVar[Mapping[str, str]] = {"CAROM_RETENTION": str(RETENTION), "CAROM_DEAD_RETENTION": str(RETENTION)}

    def pick(self, rng: Random, *kinds: str) -> Service:
        spared = {self.stack.of(kind)[0].name for kind in KINDS}
        return rng.choice([s for s in self.services if s.kind in (kinds or KINDS) and s.name not in spared])


class Sample(NamedTuple):
    """What could leak: of each measured process, and of the servers."""

    at: float
    numbers: dict[str, float]


def sample(stage: Stage) -> Sample:
    numbers: dict[str, float] = {}
    for kind in KINDS:
        service = stage.stack.of(kind)[0]
        process = psutil.Process(service.pid)
        report: dict[str, Any] = call(f"{service.admin}/debug/tasks", seconds=30)
        numbers |= {
            f"{kind} rss": process.memory_info().rss / MIB,
            f"{kind} fds": process.num_fds(),
            f"{kind} tasks": report["tasksTotal"],
        }
    lines = stage.rabbitmq.ctl("list_connections", "--silent", "pid").splitlines()
    numbers["broker connections"] = len(lines)
    numbers["broker queues"] = len(stage.rabbitmq.ctl("list_queues", "--silent", "name").splitlines())
    numbers["store keys"] = keys(stage)
    return Sample(time.monotonic(), numbers)


def keys(stage: Stage) -> int:
    with Redis.from_url(stage.redis.url) as client:
        return int(client.dbsize())


def largest(one: Sample, other: Sample) -> Sample:
    return Sample(other.at, {name: max(value, one.numbers[name]) for name, value in other.numbers.items()})


def leaks(first: Sample, last: Sample) -> list[str]:
    return [
        f"{name} grew from {first.numbers[name]:.0f} to {value:.0f}"
        for name, value in last.numbers.items()
        if value - first.numbers[name] > ALLOWED[name.split()[-1]]
    ]


def rounds(stage: Stage, seed: int, seconds: float) -> tuple[Sample, list[str]]:
    """Rounds of load and one fault until the time is over; the largest numbers of the first, and what went wrong."""
    rng = Random(seed)
    usual = [each for each in ALL if each.stage is Stage and each.name not in SPARING]
    begin = time.monotonic()
    first, wrong, number = sample(stage), [], 0
    while time.monotonic() < begin + seconds:
        scenario: Scenario = rng.choice(usual)
        verdict = run(scenario, stage, rng.randrange(2**32), min(scenario.long, rng.uniform(0, ROUND_SECONDS)))
        number += 1
        seen = sample(stage)
        if number <= WARM_ROUNDS or seen.at <= begin + WARM_PART * seconds:
            first = largest(first, seen)
        wrong += [f"round {number}, {scenario.title}: {problem}" for problem in verdict.problems]
        print(f"{verdict.line}\n  {shown(seen)}", flush=True)
    return first, wrong


def shown(seen: Sample) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in seen.numbers.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120, help="of load and faults (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="what all random choices come from (default 1)")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="carom-soak-"))
    with SoakStage(directory) as stage:
        before = keys(stage)
        first, wrong = rounds(stage, options.seed, options.minutes * 60)
        stage.begin()
        print(f"no load any more: waiting up to {SWEPT_WITHIN:.0f} s until the records are gone", flush=True)
        wait_until(lambda: keys(stage) <= before + ALLOWED["keys"], SWEPT_WITHIN, 2)
        last = sample(stage)
    first.numbers["store keys"] = before
    print(f"  {shown(last)}")
    wrong += leaks(first, last)
    print("\n".join(wrong) if wrong else "every promise was kept, and nothing leaked")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
