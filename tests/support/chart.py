"""What charts/carom lets a user set, for tests of files outside the chart that set it."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/carom"
SERVICES = ("intake", "executor", "callback")


def values() -> dict[str, Any]:
    """The defaults; each service also has what `defaults` gives to all three."""
    document: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    for service in SERVICES:
        document[service] = document["defaults"] | document[service]
    return document


def unknown(given: dict[str, Any], known: dict[str, Any] | None = None, path: str = "") -> list[str]:
    """Keys in `given` that the chart does not have; maps that are empty by default take any key."""
    known = values() if known is None else known
    found = []
    for key, value in given.items():
        here = f"{path}{key}"
        if key not in known:
            found.append(here)
        elif isinstance(value, dict) and isinstance(known[key], dict) and known[key]:
            found += unknown(value, known[key], f"{here}.")
    return found


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}`, as in --set, as `{"a": {"b": 1}}`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree
