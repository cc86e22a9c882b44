"""More than can be done, for a while: intake sheds by rule, what it took is done, and memory stays."""

import time
from collections.abc import Mapping
from random import Random
from typing import ClassVar

from bench.report import percentile
from bench.usage import sampled
from tests.chaos.auditing import Audit
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.load import Kind

GROUP = "overload"
BUSY = Kind("busy", "200:100", 0, "completed", 1, None)
SLOTS = 2
CAPACITY = 2 * SLOTS / 0.1
"""Calls a second: two executors with these slots, and a target that takes a tenth of a second."""
MAX_BACKLOG = 150
RATE = 10.0
"""Of the load whose latency tells when all is normal again."""
WARM = 5.0
FLAT_MIB = 30.0
MAX_P99 = 3.0
"""Seconds for a submission that is accepted: it does not wait for the backlog, only for two cores that are busy."""


class NarrowStage(Stage):
    """Few slots: its capacity is known, whatever the machine."""

    env: ClassVar[Mapping[str, str]] = {
        "CAROM_EXECUTOR_CONCURRENCY": str(SLOTS),
        "CAROM_EXECUTOR_MAX_HELD": "8",
        "CAROM_MAX_BACKLOG": str(MAX_BACKLOG),
    }


def three_times(stage: Stage, rng: Random, seconds: float) -> None:
    load = stage.drive(Random(rng.random()), {BUSY: 1})
    pids = {service.name: service.pid for service in stage.services if service.pid}
    submitting = load.steady(3 * CAPACITY)
    time.sleep(WARM)
    with sampled(lambda: pids) as samples:
        time.sleep(max(1.0, seconds - WARM))
    load.stop()
    submitting.result(60)
    for name in pids:
        grown = max(sample.mib[name] for sample in samples) - samples[0].mib[name]
        assert grown < FLAT_MIB, f"{name} grew by {grown:.0f} MiB"


def shed_by_rule(stage: Stage, audit: Audit) -> None:
    assert set(audit.answers) == {"202", "503"}, f"clients saw {dict(audit.answers)}"
    submissions = [each for load in stage.loads for each in load.submissions]
    assert all(each.told_when for each in submissions if each.answer == "503"), "a 503 had no Retry-After"
    p99 = percentile([each.took for each in submissions if each.answer == "202"], 99) or 0.0
    assert p99 < MAX_P99, f"p99 of accepted submissions: {p99:.2f} s"


SCENARIOS = [
    Scenario(
        GROUP,
        "three-times-capacity",
        three_times,
        15,
        600,
        stage=NarrowStage,
        rate=RATE,
        causes=frozenset(),
        check=shed_by_rule,
    )
]
