"""The reference pages say what the code says."""

import ast
import re
from pathlib import Path

import pytest

from reference import PAGES, REFERENCE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_fresh(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run: make docs"


def events_in_code() -> set[str]:
    found = set()
    for path in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            called = node.func
            logs = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log"
            if logs or (isinstance(called, ast.Name) and called.id == "report"):
                found.add(str(node.args[0].value))
    return found


def test_every_event_is_documented_and_every_documented_event_exists() -> None:
    page = (REFERENCE / "events.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert events_in_code() == documented
    assert len(documented) > 15


def test_every_setting_of_compose_is_documented() -> None:
    page = (REFERENCE / "config.md").read_text()
    used = set(re.findall(r"CAROM_[A-Z_]+", (ROOT / "compose.yaml").read_text()))
    assert used <= set(re.findall(r"CAROM_[A-Z_]+", page))


def test_all_packages_have_one_version() -> None:
    import carom_common

    versions = {
        match[1]
        for path in (ROOT / "services").glob("*/pyproject.toml")
        if (match := re.search(r'^version = "(.+)"$', path.read_text(), re.MULTILINE))
    }
    assert versions == {carom_common.__version__}
    assert f"## {carom_common.__version__}" in (ROOT / "CHANGELOG.md").read_text()
