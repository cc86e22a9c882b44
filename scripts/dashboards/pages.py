"""Every dashboard by the name of its file."""

import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.journey import journey
from dashboards.overview import overview
from dashboards.parts import parts

FOLDER = Path(__file__).resolve().parents[2] / "charts" / "carom" / "dashboards"
PAGES: dict[str, Callable[[], Dashboard]] = {"overview.json": overview, "path.json": journey, "parts.json": parts}


def text(made: Dashboard) -> str:
    """JSON as Grafana takes it. Panels are numbered in their order, so that links to them stay good."""
    document = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    for number, panel in enumerate(document["panels"], 1):
        panel["id"] = number
    return json.dumps(document, indent=1) + "\n"
