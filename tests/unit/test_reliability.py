"""The page on reliability: its table is of scenarios that there are, each of which kept what must be kept."""

import re

from tests.chaos.scenarios import ALL
from tests.chaos.verdict import BEGIN, COLUMNS, END, PAGE

MUST_BE_ZERO = ("lost", "final state wrong", "callbacks missing")


def rows() -> list[dict[str, str]]:
    table = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return [dict(zip(COLUMNS, re.split(r" *\| *", line.strip("| ")), strict=True)) for line in lines]


def test_titles_are_different() -> None:
    assert len({scenario.title for scenario in ALL}) == len(ALL)


def test_every_scenario_has_its_row() -> None:
    assert {row["scenario"].strip("`") for row in rows()} == {scenario.title for scenario in ALL}


def test_nothing_was_lost() -> None:
    made = rows()
    assert made
    for row in made:
        assert [row[column] for column in MUST_BE_ZERO] == ["0", "0", "0"], row
        assert row["recovery"] != "never", row
