"""The same of the scenarios that have a stage of their own."""

from collections.abc import Callable

import pytest
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import ON_OTHER_STAGES

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.mark.parametrize("scenario", ON_OTHER_STAGES, ids=[scenario.title for scenario in ON_OTHER_STAGES])
def test_scenario(scenario: Scenario, check: Callable[[Scenario], None]) -> None:
    check(scenario)
