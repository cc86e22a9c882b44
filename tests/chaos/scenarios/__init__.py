"""All scenarios, by group: each module has its own in `SCENARIOS`."""

from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import cluster, names, network, partitions, peers, sentinel, services

ALL: list[Scenario] = [
    *services.SCENARIOS,
    *peers.SCENARIOS,
    *network.SCENARIOS,
    *names.SCENARIOS,
    *sentinel.SCENARIOS,
    *partitions.SCENARIOS,
    *cluster.SCENARIOS,
]
