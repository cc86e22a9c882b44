"""All scenarios, by group: each module has its own in `SCENARIOS`."""

from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import network, services

ALL: list[Scenario] = [*services.SCENARIOS, *network.SCENARIOS]
