"""docs/operations and the READMEs of k8s against the chart: what they tell a reader to type or to set exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import chart
from tests.support.pages import blocks, commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs/operations").rglob("*.md"), *(ROOT / "k8s").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
METRICS = (ROOT / "docs/reference/metrics.md").read_text()


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_the_pages_an_operator_needs_are_there() -> None:
    assert {"install.md", "upgrade.md", "capacity.md", "backup.md"} <= {page.name for page in PAGES}


def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for path in re.findall(r"(?<![\w./-])((?:k8s|charts|scripts|docs|tests)/[\w./-]+\w)", "\n".join(commands(text))):
        assert (ROOT / path).exists(), path


def test_values_that_commands_set_exist(page: Path) -> None:
    for command in commands(page.read_text()):
        if not re.match(r"helm (install|upgrade)\b.* charts/carom\b", command):
            continue
        for setting in re.findall(r"--set(?:-string)? '?([\w.]+)=", command):
            assert chart.unknown(chart.nested({setting: ""})) == [], command


def test_values_that_the_text_names_exist(page: Path) -> None:
    """`config.retention` in code is a value of the chart wherever its first part is one's name."""
    known: dict[str, Any] = chart.values()
    for name in re.findall(r"`([a-z]\w*(?:\.\w+)+)(?:=[^`]*)?`", page.read_text()):
        if name.split(".")[0] in known:
            assert chart.unknown(chart.nested({name: ""})) == [], name


def test_values_files_in_the_text_are_good(page: Path) -> None:
    for block in blocks(page.read_text()):
        if not re.match(r"\w+:(?: \{|\n  )", block):
            continue
        assert chart.unknown(yaml.safe_load(block)) == [], block


def test_metrics_exist(page: Path) -> None:
    for metric in re.findall(r"`(carom_\w+)", page.read_text()):
        assert f"`{metric}`" in METRICS or f"`{metric}_total`" in METRICS, metric


def test_releases_and_namespaces_are_named_in_every_command(page: Path) -> None:
    for command in commands(page.read_text()):
        if re.match(r"(helm (?!repo)|kubectl (?!apply|create namespace))", command):
            assert "--namespace" in command, command


def test_the_example_of_install_is_found() -> None:
    """The patterns above find what they are to check."""
    text = (ROOT / "docs/operations/install.md").read_text()
    found = [block for block in blocks(text) if re.match(r"\w+:(?: \{|\n  )", block)]
    assert [set(yaml.safe_load(block)) >= {"broker", "store", "ingress"} for block in found].count(True) == 1
    assert sum(command.startswith("helm ") for command in commands(text)) >= 5
