"""All scenarios, by group: each module has its own in `SCENARIOS`."""

from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import (
    cluster,
    names,
    network,
    overload,
    partitions,
    peers,
    poison,
    rabbitmq,
    redis,
    sentinel,
    services,
)
from tests.chaos.stage import Stage

GROUPS = (services, rabbitmq, redis, poison, overload, peers, network, names, partitions, sentinel, cluster)
ALL: list[Scenario] = sorted(
    (scenario for group in GROUPS for scenario in group.SCENARIOS), key=lambda scenario: scenario.stage is not Stage
)
"""Those that share the usual stage come first."""
