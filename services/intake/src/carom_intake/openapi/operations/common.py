"""Parameters, and parts of answers, that several operations share."""

from typing import Any

from carom_common.contracts.job import LabelKey, LabelValue, Status
from carom_common.domain.filters import REASONS, WAIT_REASONS
from carom_intake.domain.listing import DEFAULT_LIMIT, MAX_LIMIT
from carom_intake.openapi.describing import Parameter, Schema
from carom_intake.openapi.schemas import TIME

JOB_ID_EXAMPLE = "7b0c2a52-5a3f-4a0e-9d5e-0f6b7f0e9c11"
AT = "2026-01-31T09:30:00.000Z"
JOB_ID = Parameter(
    "jobId", "The id that the answer to the submission gave.", {"type": "string", "format": "uuid"}, "path"
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Makes this request safe to repeat, for the retention time: the same key with the same body gets the original "
    "answer again. Quoted or bare; 1 to 255 visible ASCII characters.",
    {"type": "string", "pattern": r"""^[ \t]*([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")[ \t]*$"""},
    "header",
)
REPLAYED = {
    "Idempotency-Replayed": {
        "description": "`true` where this is the original answer again.",
        "schema": {"type": "string", "const": "true"},
    }
}
LIMIT = Parameter(
    "limit",
    "The most that a page holds.",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
)
CURSOR = Parameter(
    "cursor", "`nextCursor` of the page before, with the same filters.", {"type": "string", "minLength": 1}
)


def pattern_of(annotated: Any) -> str:
    """The pattern of a string type of the contract, without its anchors."""
    return str(annotated.__metadata__[0].pattern).removeprefix("^").removesuffix(r"(?!\n)").removesuffix("$")


_KEY, _VALUE = pattern_of(LabelKey), pattern_of(LabelValue)
_HOST: Schema = {"type": "string", "pattern": r"^[^\s/?#@\\\u0000-\u001f\u007f]{1,261}$"}

FILTERS = (
    Parameter(
        "status",
        "One of these; repeated, or separated by commas.",
        {"type": "array", "items": {"type": "string", "enum": [str(status) for status in Status]}},
    ),
    Parameter(
        "label",
        "`key=value`, all of them; repeated.",
        {"type": "array", "maxItems": 16, "items": {"type": "string", "pattern": f"^{_KEY}={_VALUE}$"}},
    ),
    Parameter("host", "Host, or `host:port`, of the target.", _HOST),
    Parameter("createdAfter", "Created at this time or later.", TIME),
    Parameter("createdBefore", "Created before this time; later than `createdAfter`.", TIME),
    Parameter("reason", "Ended without success, for this reason.", {"type": "string", "enum": list(REASONS)}),
    Parameter(
        "waitReason",
        "Held now, for one of these reasons; repeated, or separated by commas.",
        {"type": "array", "items": {"type": "string", "enum": list(WAIT_REASONS)}},
    ),
)
