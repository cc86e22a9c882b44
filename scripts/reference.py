"""Writes docs/reference/config.md, metrics.md and asyncapi.yaml from the code; a test fails while they are stale."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from asyncapi import asyncapi_page
from carom_callback.settings import CallbackSettings
from carom_common.egress_settings import EgressSettings, OutboundSettings
from carom_common.settings import Settings, variable
from carom_common.signing import PublishingSettings, SigningSettings
from carom_common.telemetry.metrics import CATALOGUE
from carom_executor.settings import ExecutorSettings
from carom_intake.settings import IntakeSettings

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"

CONFIG_HEAD = """# Configuration

Every setting is an environment variable. A bad value stops the process at start, with status 2 and one line that names
the variable. Written by `make docs` from the settings classes; do not edit.
"""

METRICS_HEAD = """# Metrics

Served on `/metrics` of each service's admin port, as text, or as OpenMetrics (with trace ids as exemplars) to who asks
for that. Labels are bounded: no URL, host, tenant, routing key or id. Counters and histograms are there from the
start, at 0, gauges once they are known. What is in no list counts as `other`. Times are in seconds. Beside these there
are `process_*` and `python_*`.
Written by `make docs` from `carom_common/telemetry/metrics`; do not edit.

| metric | kind | labels | told by | meaning | when it is high |
|---|---|---|---|---|---|
"""

GROUPS: tuple[tuple[str, type[Settings], tuple[type[Settings], ...]], ...] = (
    ("Every service", Settings, ()),
    ("Every service: what may be called", OutboundSettings, (Settings,)),
    ("Every service: signatures", PublishingSettings, (Settings,)),
    ("Executor and callback", EgressSettings, (OutboundSettings,)),
    ("Executor and callback: signatures", SigningSettings, (PublishingSettings,)),
    ("Intake", IntakeSettings, (OutboundSettings, PublishingSettings)),
    ("Executor", ExecutorSettings, (EgressSettings, SigningSettings)),
    ("Callback", CallbackSettings, (EgressSettings, SigningSettings)),
)


def config_page() -> str:
    """One table a group, each with the settings that the group adds."""
    lines = [CONFIG_HEAD]
    for title, kind, bases in GROUPS:
        inherited = {name for base in bases for name in base.model_fields}
        lines += [f"\n## {title}\n", "| variable | default | range | meaning |", "|---|---|---|---|"]
        for name, field in kind.model_fields.items():
            if name not in inherited:
                row = (f"`{variable(kind, name)}`", _shown(field.default), _range(field), field.description or "")
                lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _shown(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return f"`{default}`" if default not in (None, "") else "none"


def _range(field: Any) -> str:
    choices = getattr(field.annotation, "__args__", ()) if "Literal" in str(field.annotation) else ()
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds = {
        kind: getattr(part, kind) for part in field.metadata for kind in ("ge", "gt", "le") if hasattr(part, kind)
    }
    low = bounds.get("ge", f"over {bounds['gt']}" if "gt" in bounds else None)
    high = bounds.get("le")
    return f"{low} to {high}" if high is not None else (f"from {low}" if low is not None else "")


def metrics_page() -> str:
    """One row a metric, in the order of the catalogue."""
    rows = []
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.label_names) or "none"
        told = "all" if len(metric.by) == 3 else ", ".join(metric.by)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {told} | {metric.meaning} | {metric.high} |")
    return METRICS_HEAD + "\n".join(rows) + "\n"


PAGES = {"config.md": config_page, "metrics.md": metrics_page, "asyncapi.yaml": asyncapi_page}


def main() -> None:
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
        print(f"wrote docs/reference/{name}")


if __name__ == "__main__":
    main()
