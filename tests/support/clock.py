"""The wall clock of one process, by libfaketime; its monotonic one stays the machine's."""

import os
from pathlib import Path

from devstack.errors import DevstackError

_LIBRARY = next(map(str, Path("/usr/lib").glob("*-linux-*/faketime/libfaketimeMT.so.1")), None)


class Clock:
    """Read from `file` once a second by whoever runs with its `environment`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    @property
    def environment(self) -> dict[str, str]:
        if _LIBRARY is None:
            raise DevstackError("libfaketime is missing: run scripts/install-servers --tests")
        return {
            "LD_PRELOAD": _LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    @property
    def within(self) -> tuple[str, ...]:
        """What a server's command begins with to have this clock."""
        # Redis' jemalloc asks for the time before libfaketime is there; this one puts glibc's malloc in its place.
        environment = self.environment
        environment["LD_PRELOAD"] = f"libc_malloc_debug.so.0 {environment['LD_PRELOAD']}"
        return ("env", *(f"{name}={value}" for name, value in environment.items()))

    def set(self, ahead: int) -> None:
        """So many seconds ahead of the machine, within a second."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead:+d}\n")
        os.replace(new, self._file)  # noqa: PTH105 - at once, or somebody reads half of it
