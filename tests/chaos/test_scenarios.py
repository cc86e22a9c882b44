"""The short version of the scenarios with one server of each kind: seconds of each fault, and all that was accepted."""

from collections.abc import Callable

import pytest
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import BESIDE_ONE_SERVER

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.mark.parametrize("scenario", BESIDE_ONE_SERVER, ids=[scenario.title for scenario in BESIDE_ONE_SERVER])
def test_scenario(scenario: Scenario, check: Callable[[Scenario], None]) -> None:
    check(scenario)
