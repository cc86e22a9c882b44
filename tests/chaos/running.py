"""One scenario on a stage: load, fault, recovery, audit, verdict."""

import time
from random import Random

from tests.chaos.auditing import audit
from tests.chaos.recovery import Recovery
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.chaos.verdict import Verdict, problems
from tests.support.servers import depths, work_left

from devstack.process import wait_until

BEFORE = 2.0
"""Seconds of load that show what is normal."""
DONE_WITHIN = 90.0
"""Seconds after the load within which every job is done."""


def run(scenario: Scenario, stage: Stage, seed: int, fault_seconds: float) -> Verdict:
    """All random choices come from the seed and the scenario's title."""
    rng = Random(f"{seed} {scenario.title}")
    stage.begin()
    stage.await_ready()
    letters = dead_letters(stage)
    load = stage.drive(Random(rng.random()))
    submitting = load.steady(scenario.rate)
    found: list[str] = []
    try:
        time.sleep(BEFORE)
        recovery = Recovery(load, scenario.rate)
        try:
            scenario.break_it(stage, rng, fault_seconds)
        except AssertionError as error:
            found.append(str(error))
        recovered = recovery.wait(time.monotonic(), scenario.recovers)
    finally:
        load.stop()
        submitting.result(60)
    deadline = time.monotonic() + DONE_WITHIN
    for each in stage.loads:
        each.await_callbacks(max(0.0, deadline - time.monotonic()))
    found += [_failure(check) for check in (stage.await_ready, lambda: no_work_left(stage))]
    seen = audit(stage, letters, dead_letters(stage), records=scenario.records)
    found += problems(scenario, seen, recovered)
    found += [f"{death.name} died with code {death.code}" for death in stage.deaths]
    found.append(_failure(lambda: scenario.check(stage, seen)))
    return Verdict(scenario, seen, recovered, [problem for problem in found if problem])


def _failure(check: object) -> str:
    assert callable(check)
    try:
        check()
    except AssertionError as error:
        return str(error) or "an assertion failed"
    return ""


def dead_letters(stage: Stage) -> int:
    return depths(stage.rabbitmq).get("carom.dead.execute", 0)


def no_work_left(stage: Stage) -> None:
    """Late copies come back from delay buckets within seconds."""
    assert wait_until(lambda: not work_left(stage.rabbitmq), 30, 0.5), f"left in queues: {work_left(stage.rabbitmq)}"
