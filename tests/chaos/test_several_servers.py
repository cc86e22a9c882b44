"""The same of the scenarios with several servers, or with walls between them and the services."""

from collections.abc import Callable

import pytest
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import BESIDE_SEVERAL

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.mark.parametrize("scenario", BESIDE_SEVERAL, ids=[scenario.title for scenario in BESIDE_SEVERAL])
def test_scenario(scenario: Scenario, check: Callable[[Scenario], None]) -> None:
    check(scenario)
