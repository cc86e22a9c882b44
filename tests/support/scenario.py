"""What each fault did to the jobs answered with 202: asserted by its test, and printed as a table at the end."""

import time

import pytest
from tests.support.load import Load

HEAD = ["scenario", "accepted", "lost", "wrong", "missing", "calls+", "callbacks+", "stale", "recovery s", "note"]
_scenarios = pytest.StashKey[list["Scenario"]]()


class Scenario:
    """One row of the table. Repeats are counted when it is printed, so that late ones count too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.load: Load | None = None
        self.recovery = 0.0
        self.stale = 0
        self.note = ""
        self._broken_at = 0.0

    def broken(self) -> None:
        """The fault begins now; recovery is counted from here."""
        self._broken_at = time.monotonic()

    def recovered(self) -> None:
        self.recovery = time.monotonic() - self._broken_at

    def row(self) -> list[str]:
        if self.load is None:
            return [self.name, *"-------", f"{self.recovery:.1f}", self.note]
        verdict = self.load.verdict(self.stale)
        return [self.name, *map(str, verdict), f"{self.recovery:.1f}", self.note]


def scenarios_of(config: pytest.Config) -> list[Scenario]:
    """The scenarios of this session, in the order in which they were made."""
    return config.stash.setdefault(_scenarios, [])


def print_scenarios(reporter: pytest.TerminalReporter, config: pytest.Config, title: str) -> None:
    made = scenarios_of(config)
    if not made:
        return
    rows = [HEAD, *(scenario.row() for scenario in made)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    reporter.section(title)
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells[:-1], widths[1:-1], strict=True))
        reporter.write_line("  ".join([name.ljust(widths[0]), *numbers, cells[-1]]).rstrip())
    reporter.write_line("calls+ and callbacks+: repeats of one attempt's call, and of a callback taken before")


def assert_all_kept(load: Load) -> None:
    """The promise: every job answered with 202 was called and called back with what happened."""
    unfinished, wrong = load.unfinished(), load.wrong()
    assert not unfinished, f"{len(unfinished)} of {len(load.accepted)} jobs were not called back: {unfinished[:3]}"
    assert not wrong, f"{len(wrong)} jobs were called back wrongly: {wrong[:3]}"
    assert all(load.witness.called(job_id) for job_id in load.accepted)
