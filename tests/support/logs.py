"""What the services of a stack logged, as events."""

import json
from pathlib import Path
from typing import Any

from tests.support.waiting import WITHIN, eventually


def _event(line: str) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        raise AssertionError(f"a line of the log is not JSON: {line}") from None
    return event


class Logs:
    """Reads every `*.log` of a directory anew for each question."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def text(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    def lines(self) -> list[str]:
        """Complete lines only: the last one of a file may be on its way."""
        return [
            line
            for path in sorted(self.directory.glob("*.log"))
            for line in path.read_text(errors="replace").split("\n")[:-1]
        ]

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        """Events whose fields are as wanted, such as `event="attempt", job_id=...`. A line that is not JSON fails."""
        job_id = wanted.get("job_id", "")
        found = (_event(line) for line in self.lines() if job_id in line)
        return [event for event in found if all(event.get(name) == value for name, value in wanted.items())]

    async def wait_for(self, count: int = 1, within: float = WITHIN, **wanted: Any) -> list[dict[str, Any]]:
        def enough() -> list[dict[str, Any]] | None:
            events = self.events(**wanted)
            return events if len(events) >= count else None

        return await eventually(enough, f"{count} events {wanted}", within, 0.05)
