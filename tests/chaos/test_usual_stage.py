"""The short version of the scenarios on the usual stage: seconds of each fault, and all that was accepted."""

from collections.abc import Callable

import pytest
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import ON_THE_USUAL_STAGE

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.mark.parametrize("scenario", ON_THE_USUAL_STAGE, ids=[scenario.title for scenario in ON_THE_USUAL_STAGE])
def test_scenario(scenario: Scenario, check: Callable[[Scenario], None]) -> None:
    check(scenario)
