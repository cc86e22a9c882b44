"""What the chart gives to Prometheus and Grafana: its rules, its dashboards, and the queries in both."""

import functools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from carom_common.telemetry.metrics import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/carom"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
RULES = sorted((CHART / "rules").glob("*.yaml"))
RUNBOOKS = ROOT / "docs/operations/runbooks"
REFERENCE = ROOT / "docs/reference"
EVENTS = set(re.findall(r"^\| `(\w+)` \|", (REFERENCE / "events.md").read_text(), re.MULTILINE))
OF_PROMETHEUS = {"namespace", "job", "instance", "pod", "service", "container", "endpoint", "le"}
"""Labels that are not ours."""


class Panel(NamedTuple):
    """A panel with queries, and which dashboard it is on."""

    board: str
    title: str
    document: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.board}: {self.title}"

    @property
    def queries(self) -> list[str]:
        return [target["expr"] for target in self.document["targets"]]


@functools.cache
def rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def names() -> list[str]:
    """Of all alerts, each once."""
    return sorted({alert["alert"] for alert in alerts()})


@functools.cache
def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def panels() -> list[Panel]:
    return [
        Panel(name, panel["title"], panel)
        for name, board in boards().items()
        for panel in board["panels"]
        if panel["type"] != "row"
    ]


def queries() -> list[str]:
    return [rule["expr"] for rule in rules()] + [query for panel in panels() for query in panel.queries]


@functools.cache
def series() -> dict[str, dict[str, set[str]]]:
    """The values that each label of ours may have, by the names that Prometheus stores."""
    return {
        metric.name + suffix: {
            label: {values[place] for values in metric.declared} for place, label in enumerate(metric.label_names)
        }
        for metric in CATALOGUE
        for suffix in metric.suffixes
    }


def unknown(query: str) -> list[str]:
    """Metrics of ours, their labels, and values of those, which a query names and nobody tells."""
    known, wrong = series(), []
    for name, matchers in re.findall(r"\b(carom_\w+)(?:\{([^}]*)\})?", query):
        if name not in known:
            wrong.append(name)
            continue
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
            if label in OF_PROMETHEUS:
                continue
            pattern = value if "~" in operator else re.escape(value)
            if not any(re.fullmatch(pattern, told) for told in known[name].get(label, ())):
                wrong.append(f'{name}{{{label}{operator}"{value}"}}')
    return wrong
