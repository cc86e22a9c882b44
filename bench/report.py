"""Figures for people (tables on the terminal) and for programs (one JSON file a run)."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from devstack.paths import ROOT

RESULTS = ROOT / "bench" / "results"


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say(f"\n{text} (load average {os.getloadavg()[0]:.2f})")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """The first column is a name, the others are figures."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for n, row in enumerate(cells):
        first, *rest = (
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        say("  " + "  ".join([first, *rest]).rstrip())
        if n == 0:
            say("  " + "  ".join("-" * w for w in widths))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return str(value)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Nearest rank; None when there is nothing to rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else None


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p99 and the largest, rounded to a tenth."""
    figures = {"p50": percentile(values, 50), "p99": percentile(values, 99), "max": max(values, default=None)}
    return {name: None if value is None else round(value, 1) for name, value in figures.items()}


def machine() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def write(result: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now():%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path
