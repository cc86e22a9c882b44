"""Schemas of what operators send and see."""

import inspect
from typing import Any

import msgspec

from carom_common.contracts.job import LabelKey, LabelValue
from carom_common.domain.rules import MAX_HOST, Rule
from carom_intake.openapi.describing import Schema
from carom_intake.openapi.filters import KIND
from carom_intake.openapi.schemas import MS, REF, TIME
from carom_intake.openapi.shapes import MAYBE_TEXT, NUMBER, STATUS, TEXT, UUID, closed, ref

_LABEL = closed(
    {
        "key": {"type": "string", "pattern": LabelKey.__metadata__[0].pattern},  # type: ignore[attr-defined]
        "value": {"type": "string", "pattern": LabelValue.__metadata__[0].pattern},  # type: ignore[attr-defined]
    }
)
_SELECTOR: Schema = {
    "type": "object",
    "description": "All jobs, those for a host, or those with a label; not both.",
    "additionalProperties": False,
    "properties": {
        "host": {"type": ["string", "null"], "maxLength": MAX_HOST, "pattern": r"^[^/?#@\\ %A-Z]+$"},
        "label": {"anyOf": [_LABEL, {"type": "null"}]},
    },
    "not": {"required": ["host", "label"], "properties": {"host": TEXT, "label": {"type": "object"}}},
}
_RATE: Schema = {"anyOf": [{"type": "null"}, closed({"perSecond": NUMBER, "burst": MS})]}
_RULES: dict[str, Schema] = {
    "host": TEXT,
    "source": {"type": "string", "enum": ["api", "configuration", "default"]},
    "concurrency": MS,
    "rate": _RATE,
}
_CIRCUIT: dict[str, Schema] = {"failures": MS, "openSeconds": NUMBER}
_STATE: Schema = {"type": "string", "enum": ["closed", "open", "half-open"]}
_MAYBE_LABEL: Schema = {"anyOf": [{"type": "null"}, closed({"key": TEXT, "value": TEXT})]}


def operating_schemas() -> dict[str, Schema]:
    """By name, for `components/schemas`."""
    _, found = msgspec.json.schema_components([Rule], ref_template=REF)
    rules: dict[str, Any] = dict(found)
    for schema in rules.values():
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
    return rules | {
        "Selector": _SELECTOR,
        "Pauses": closed(
            {
                "pauses": {
                    "type": "array",
                    "items": closed({"host": MAYBE_TEXT, "label": _MAYBE_LABEL, "since": TIME}),
                }
            }
        ),
        "DestinationRules": closed(_RULES | {"circuit": closed(_CIRCUIT)}),
        "Destination": closed(_RULES | {"circuit": closed(_CIRCUIT | {"state": _STATE}), "inUse": MS, "waiting": MS}),
        "RunsAgain": closed({"jobId": UUID, "status": STATUS, "generation": MS, "attempts": MS}),
        "DeadLetter": closed({"jobId": UUID, "kinds": {"type": "array", "items": KIND}, "job": ref("JobDocument")}),
    }
