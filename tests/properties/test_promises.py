"""Whatever clients, operators and dying nodes do, in whatever order: the promises are kept.

A hypothesis state machine (machine.py) against real services, two replicas of each. After every example all of its jobs
are brought to their end, and their records, the lists and what targets and receivers saw are compared with a model.
"""

from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.properties.closing import check, check_stats
from tests.properties.example import Example
from tests.properties.machine import Promises
from tests.properties.replicas import Replicas
from tests.properties.telling import Broken
from tests.support.servers import Servers, assert_no_work_left
from tests.support.witness import Witness

pytestmark = pytest.mark.fault

SHORT = settings(
    max_examples=4,
    stateful_step_count=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    print_blob=False,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
)


SHORT_SEED = 3
"""Draws examples with much of everything."""


@pytest.mark.timeout(3600)
def test_promises(replicas: Replicas, witness: Witness, ended: list[Example]) -> None:
    def machine() -> Promises:
        return Promises(replicas, witness, ended)

    long = settings.get_current_profile_name() == "long"
    try:
        if long:
            run_state_machine_as_test(cast(Any, machine), settings=settings())
        else:
            run_state_machine_as_test(cast(Any, seed(SHORT_SEED)(machine)), settings=SHORT)
    except Broken as broken:
        raise (broken.__cause__ or broken) from None


def test_nothing_is_left(servers: Servers, ended: list[Example]) -> None:
    """No message waits for anything, and the last stale copies have changed nothing."""
    assert_no_work_left(servers)
    kept = [example for example in ended if example.kept]
    for example in kept:
        example.adopt()
        check(example)
    if len(kept) == len(ended):
        check_stats(ended)
