"""The reference pages say what the code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from reference import PAGES, REFERENCE

ROOT = Path(__file__).parents[2]
METHODS = {"debug", "info", "warning", "error", "critical"}
LEVELS, FIELDS = {"exception": "error"}, {"exc_info": "exception"}


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_fresh(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run: make docs"


class Told(NamedTuple):
    """What is said of an event, or what the code says with it."""

    levels: set[str]
    fields: set[str]


def events_in_code() -> dict[str, Told]:
    """Every event that a service logs, by its name."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "services").rglob("*.py")]
    functions = {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found: dict[str, Told] = {}
    reports = {id(call): levels for tree in trees for call, levels in reports_in(tree)}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        called = node.func
        logs = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log"
        if logs or (isinstance(called, ast.Name) and called.id == "report"):
            levels, fields = found.setdefault(str(node.args[0].value), Told(set(), set()))
            levels |= {LEVELS.get(called.attr, called.attr)} if isinstance(called, ast.Attribute) else reports[id(node)]
            fields |= {FIELDS.get(keyword.arg, keyword.arg) for keyword in node.keywords if keyword.arg}
            for keyword in node.keywords:
                if keyword.arg is None:
                    fields |= keys_of(keyword.value, functions)
            if isinstance(called, ast.Attribute) and called.attr == "exception":
                fields.add("exception")
    return found


def reports_in(tree: ast.Module) -> Iterator[tuple[ast.Call, set[str]]]:
    """Calls of a `report` that is one of several methods of `log`, and which ones."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        levels: set[str] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["report"]:
                levels = {part.attr for part in ast.walk(node.value) if isinstance(part, ast.Attribute)} & METHODS
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "report":
                yield node, levels


def keys_of(value: ast.AST, functions: dict[str, ast.FunctionDef]) -> set[str]:
    """The keys of what is spread into a call: of dictionaries in it, and of those that functions called in it make."""
    found = set()
    for node in ast.walk(value):
        if isinstance(node, ast.Dict):
            found |= {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in functions:
            body = functions[node.func.attr].body
            others = {name: function for name, function in functions.items() if name != node.func.attr}
            found |= {key for statement in body for key in keys_of(statement, others)}
        elif isinstance(node, ast.Attribute) and node.attr == "told":  # carom_common.telemetry.logging.sampling
            found.add("sample_rate")
    return found


def documented_events() -> dict[str, Told]:
    page = (REFERENCE / "events.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if re.match(r"\| `\w+` \| [a-z, ]+ \|", line)]
    listed = page[page.index("## Fields of every call") : page.index("## The audit trail")]
    shared = {name for names in re.findall(r"^- (`[^:]*):", listed, re.MULTILINE) for name in names.split(", ")}
    every_call = {name.strip("`") for name in shared}
    found = {}
    for name, levels, fields, *_ in rows:
        named = set(re.findall(r"`(\w+)`", fields))
        named |= every_call if "#fields-of-every-call" in fields else set()
        found[name.strip("|` ")] = Told(set(levels.split(", ")), named)
    return found


def test_every_event_is_documented_with_its_levels_and_fields_and_every_documented_event_exists() -> None:
    documented, found = documented_events(), events_in_code()
    assert documented.keys() == found.keys()
    assert len(documented) > 15
    assert documented == found


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
