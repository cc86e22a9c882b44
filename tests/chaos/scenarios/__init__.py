"""All scenarios, by group: each module has its own in `SCENARIOS`."""

from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import rabbitmq, redis, services

ALL: list[Scenario] = [*services.SCENARIOS, *rabbitmq.SCENARIOS, *redis.SCENARIOS]
