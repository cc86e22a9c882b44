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

_ONE = (services, rabbitmq, redis, poison, overload, peers, network, names)
_SEVERAL = (partitions, sentinel, cluster)
GROUPS = (*_ONE, *_SEVERAL)
BESIDE_ONE_SERVER: list[Scenario] = sorted(
    (scenario for group in _ONE for scenario in group.SCENARIOS), key=lambda scenario: scenario.stage is not Stage
)
"""Of each kind. Those that share the usual stage come first."""
BESIDE_SEVERAL: list[Scenario] = [scenario for group in _SEVERAL for scenario in group.SCENARIOS]
ALL = [*BESIDE_ONE_SERVER, *BESIDE_SEVERAL]
