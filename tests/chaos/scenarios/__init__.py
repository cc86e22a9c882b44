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
ALL: list[Scenario] = [scenario for group in GROUPS for scenario in group.SCENARIOS]
ON_THE_USUAL_STAGE = [scenario for scenario in ALL if scenario.stage is Stage]
ON_OTHER_STAGES = [scenario for scenario in ALL if scenario.stage is not Stage]
"""Proxies in between, other settings, walls, several servers: most have to wait until theirs is up."""
