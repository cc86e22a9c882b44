"""A stage on which every replica has a wall clock of its own, by libfaketime."""

import os
from pathlib import Path

from tests.chaos.stage import Stage

from devstack.errors import DevstackError
from devstack.services import Service

LIBRARIES = Path("/usr/lib").glob("*-linux-*/faketime/libfaketimeMT.so.1")
LIBRARY = next(map(str, LIBRARIES), None)


class ClockStage(Stage):
    """`set()` moves the wall clock of one replica. Its monotonic clock is the machine's."""

    def furnish(self, service: Service) -> None:
        if LIBRARY is None:
            raise DevstackError("libfaketime is missing: run scripts/install-servers --tests")
        self.set(service, 0)
        service.env |= {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._file(service)),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def set(self, service: Service, ahead: int) -> None:
        """So many seconds ahead of the machine, within a second."""
        file = self._file(service)
        new = file.with_suffix(".new")
        new.write_text(f"{ahead:+d}\n")
        os.replace(new, file)  # noqa: PTH105 - at once, or somebody reads half of it

    def _file(self, service: Service) -> Path:
        return self.directory / f"clock-{service.name}"
