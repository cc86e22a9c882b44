"""The filter in the body of a bulk act, and what goes with it."""

from carom_common.contracts.job import OPEN_STATUSES, LabelKey, LabelValue, Status
from carom_common.domain.filters import REASONS, WAIT_REASONS
from carom_intake.domain.bulk import DEFAULT_RATE, MAX_RATE
from carom_intake.domain.listing import MAX_LABELS
from carom_intake.openapi.describing import Schema
from carom_intake.openapi.schemas import MAYBE_TIME
from carom_intake.openapi.shapes import UUID, closed, ref

STATUSES = [str(status) for status in Status]
OPEN = [str(status) for status in Status if status in OPEN_STATUSES]
HOST = r"[^\s/?#@\\\u0000-\u001f\u007f]{1,261}"


def _one_or_list(item: Schema, **more: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item, **more}, {"type": "null"}]}


_FIELDS: dict[str, Schema] = {
    "labels": {
        "type": ["object", "null"],
        "description": "All of them.",
        "maxProperties": MAX_LABELS,
        "propertyNames": {"pattern": LabelKey.__metadata__[0].pattern},  # type: ignore[attr-defined]
        "additionalProperties": {"type": "string", "pattern": LabelValue.__metadata__[0].pattern},  # type: ignore[attr-defined]
    },
    "host": {"type": ["string", "null"], "description": "Host, or `host:port`, of the target.", "pattern": f"^{HOST}$"},
    "createdAfter": MAYBE_TIME,
    "createdBefore": MAYBE_TIME,
    "reason": {"enum": [*REASONS, None]},
    "waitReason": _one_or_list({"type": "string", "enum": [*WAIT_REASONS]}),
}
_MORE: dict[str, Schema] = {
    "dryRun": {"type": "boolean", "default": False, "description": "Only count, and show a sample."},
    "rate": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_RATE,
        "default": DEFAULT_RATE,
        "description": "Jobs a second.",
    },
}
_STATUS: Schema = {"type": "string", "enum": STATUSES}
_CANCEL_STATUS: Schema = {
    "description": "Those that are final are passed over; one that is not must be among them.",
    "anyOf": [
        {"type": "string", "enum": OPEN},
        {"type": "array", "items": _STATUS, "contains": {"enum": OPEN}},
        {"type": "array", "maxItems": 0},
        {"type": "null"},
    ],
}
_ANY_OF = "At least one field of the filter must be given; `createdBefore` with the time of now means all."


def _asked(fields: dict[str, Schema]) -> Schema:
    names = [name for name in fields if name not in ("dryRun", "rate", "kind")]
    return {
        "type": "object",
        "description": _ANY_OF,
        "additionalProperties": False,
        "anyOf": [{"required": [name]} for name in names],
        "properties": fields,
    }


def _handle(done: str) -> Schema:
    count: Schema = {"type": "integer", "minimum": 0}
    return closed(
        {
            "id": UUID,
            "status": {"type": "string", "enum": ["running", "done", "stopped"]},
            "filter": {"type": "object"},
            "rate": count,
            "matched": count,
            done: count,
            "skipped": count,
            "startedAt": {"type": "string", "format": "date-time"},
            "endedAt": MAYBE_TIME,
        },
        {"kind": KIND} if done == "redriven" else None,
    )


KIND: Schema = {"type": "string", "enum": ["execute", "callback"]}
BULK_SCHEMAS: dict[str, Schema] = {
    "CancelByFilter": _asked({"status": _CANCEL_STATUS} | _FIELDS | _MORE),
    "RedriveByFilter": _asked(
        {"status": _one_or_list(_STATUS)} | _FIELDS | _MORE | {"kind": KIND | {"default": "execute"}}
    ),
    "Redrive": _handle("redriven"),
    "Cancellation": _handle("cancelled"),
    "Preview": closed(
        {
            "dryRun": {"const": True},
            "filter": {"type": "object"},
            "count": {"type": "integer", "minimum": 0},
            "exact": {"type": "boolean", "description": "False: there may be more."},
            "sample": {"type": "array", "items": ref("JobSummary")},
        },
        {"kind": KIND},
    ),
}
"""By name, for `components/schemas`."""
