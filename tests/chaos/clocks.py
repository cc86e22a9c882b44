"""A stage on which every replica, and the store, has a wall clock of its own."""

from pathlib import Path

from tests.chaos.stage import Stage
from tests.support.clock import Clock

from devstack.server import Place
from devstack.servers import Redis
from devstack.services import Service

HOUR = 3600


class ClockStage(Stage):
    """`clocks` by the name of the replica."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.clocks: dict[str, Clock] = {}
        self.store = Clock(directory / "clock-store")
        self.redis = Redis(directory / "redis", place=Place(within=self.store.within))

    def furnish(self, service: Service) -> None:
        clock = self.clocks[service.name] = Clock(self.directory / f"clock-{service.name}")
        service.env |= clock.environment
