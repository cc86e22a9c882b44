"""One scenario on a stage: load, fault, recovery, audit, verdict."""

import logging
import time
from collections.abc import Callable
from random import Random

from tests.chaos.auditing import audit
from tests.chaos.recovery import Recovery
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Letters, Stage
from tests.chaos.verdict import Verdict, problems
from tests.support.servers import depths, working

from carom_common.topology import DEAD_CALLBACK_QUEUE, DEAD_EXECUTE_QUEUE
from devstack.errors import DevstackError
from devstack.process import wait_until

log = logging.getLogger(__name__)

BEFORE = 2.0
"""Seconds of load that show what is normal."""
DONE_WITHIN = 90.0
"""Seconds after the load within which every job is done."""
LEFT_WITHIN = 30.0
"""Seconds after that within which the last copies are gone."""


def run(scenario: Scenario, stage: Stage, seed: int, fault_seconds: float) -> Verdict:
    """All random choices come from the seed and the scenario's title."""
    rng = Random(f"{seed} {scenario.title}")
    stage.begin(f"{seed} {scenario.title}")
    stage.await_ready()
    load = stage.drive(Random(rng.random()), scenario.kinds)
    submitting = load.steady(scenario.rate)
    found: list[str] = []
    try:
        time.sleep(BEFORE)
        recovery = Recovery(load, BEFORE)
        try:
            scenario.break_it(stage, rng, fault_seconds)
        except (AssertionError, DevstackError) as error:  # a promise, or a server that does not come back
            found.append(str(error))
        except Exception as error:  # what is left of an hour's scenarios goes on
            log.exception("the scenario broke")
            found.append(f"the scenario itself broke: {error!r}")
        recovered = recovery.wait(time.monotonic(), scenario.recovers)
    finally:
        load.stop()
        submitting.result(60)
    deadline = time.monotonic() + DONE_WITHIN
    for each in stage.loads:
        each.await_callbacks(max(0.0, deadline - time.monotonic()))
    left = what_is_left(stage)
    letters = Letters(*(left.pop(queue, 0) for queue in (DEAD_EXECUTE_QUEUE, DEAD_CALLBACK_QUEUE)))
    seen = audit(stage, letters - stage.letters, records=scenario.records)
    stage.letters = letters
    found += [f"left in queues: {others}"] if (others := working(left)) else []
    found.append(_failure(stage.await_ready))
    found += problems(scenario, seen)
    if recovered is None:
        found.append(f"not normal again within {scenario.recovers:.0f} s: {recovery.last}")
    found += [f"{death.name} died with code {death.code}" for death in stage.deaths]
    found.append(_failure(lambda: scenario.check(stage, seen)))
    return Verdict(scenario, seed, fault_seconds, seen, recovered, [problem for problem in found if problem])


def _failure(check: Callable[[], None]) -> str:
    try:
        check()
    except AssertionError as error:
        return str(error) or "an assertion failed"
    return ""


def what_is_left(stage: Stage) -> dict[str, int]:
    """Messages by queue, as soon as nothing but dead letters is left: late copies come back within seconds."""
    found: dict[str, int] = {}

    def done() -> bool:
        found.clear()
        found.update(depths(stage.rabbitmq))
        return not working(found)

    wait_until(done, LEFT_WITHIN, 0.5)
    return found
