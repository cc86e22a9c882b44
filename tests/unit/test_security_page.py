"""SECURITY.md: every control names a test that exists, and every kind of thing to say is said."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
HEAD = "| asset | threat | control | test |"


def rows() -> list[list[str]]:
    """The cells of every row of the threat tables."""
    found = []
    for table in PAGE.split(HEAD)[1:]:
        lines = table.strip().partition("\n\n")[0].splitlines()[1:]
        found += [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return found


@functools.cache
def functions_in(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[-1].rpartition("::")[2])
def test_every_control_has_a_test_that_exists(row: list[str]) -> None:
    assert len(row) == 4
    assert all(row)
    for named in row[3].split(", "):
        path, _, name = named.partition("::")
        assert name.startswith("test_"), named
        assert (ROOT / path).is_file(), named
        assert name in functions_in(ROOT / path), named


def test_no_row_is_lost_or_there_twice() -> None:
    named = [row[3] for row in rows()]
    assert len(named) > 30
    assert PAGE.count("::test_") == sum(row.count("::") for row in named)
    assert len({tuple(row) for row in rows()}) == len(rows())


def test_the_page_is_found_and_says_what_is_expected_of_it() -> None:
    for heading in ("## Reporting", "## Supported versions", "## Threats and controls"):
        assert heading in PAGE
    for page in ("README.md", "CONTRIBUTING.md"):
        assert re.search(r"\(SECURITY\.md\)", (ROOT / page).read_text()), page
