"""The OpenAPI 3.1 document, put together once."""

from functools import cache
from typing import Any

import msgspec

from carom_common import __version__
from carom_intake.domain.batch import MAX_JOBS
from carom_intake.openapi.administering import administering_schemas
from carom_intake.openapi.describing import Schema
from carom_intake.openapi.filters import BULK_SCHEMAS
from carom_intake.openapi.operating import operating_schemas
from carom_intake.openapi.operations import OPERATIONS
from carom_intake.openapi.schemas import request_schemas
from carom_intake.openapi.shapes import ANSWERS, UUID, closed, ref

_INTRODUCTION = (
    "Carom makes HTTP calls on your behalf, with retries, and tells you how they went.\n\n"
    "Errors are `application/problem+json` (RFC 9457): every problem with its place. Every answer carries "
    "`X-Request-Id`, the request's own or a new one. Unknown fields and parameters are refused by name. Times are "
    "RFC 3339, durations milliseconds; integers are written without a fraction.\n\n"
    "Where the installation has keys turned off, none is needed."
)

TAGS = {
    "submitting": "Jobs, one or many.",
    "looking": "Jobs, their attempts, and figures.",
    "events": "What happens, while it happens.",
    "acting": "Cancelling, trying again.",
    "dead letters": "What was given up, and giving it another chance.",
    "operating": "Holding work, and limits of destinations.",
    "administering": "Keys, and who did what.",
    "contract": "The API about itself.",
}

_BATCH: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["jobs"],
    "properties": {
        "jobs": {
            "type": "array",
            "description": "Each as for a single submission. One that is not is answered in its place.",
            "minItems": 1,
            "maxItems": MAX_JOBS,
            "items": {"anyOf": [ref("Job"), {"description": "Not valid, and answered so."}]},
        },
        "atomic": {
            "type": "boolean",
            "default": False,
            "description": "Accept all or, with a 400, none where one is not valid.",
        },
    },
}
_ENTRY = closed(
    {"index": {"type": "integer", "minimum": 0}, "status": {"type": "integer"}},
    {"jobId": UUID, "error": ref("Problem")},
    "202 with the id of the job, or another status with the problem.",
)
_HEADERS = {
    "RequestId": {"description": "The request's, or a new one.", "schema": {"type": "string"}, "required": True},
    "RetryAfter": {"description": "Seconds.", "schema": {"type": "integer"}},
    "RateLimitPolicy": {
        "description": "How many requests the key may make in how many seconds (draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "How many are left, and the seconds until all of them are there again. Of keys with a rate, "
        "every answer has both.",
        "schema": {"type": "string"},
    },
    "WWWAuthenticate": {"schema": {"type": "string", "const": "Bearer"}},
}


@cache
def document() -> dict[str, Any]:
    """Not to be changed by who gets it."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.document()
    used = {operation.tag for operation in OPERATIONS}
    schemas = request_schemas() | ANSWERS | BULK_SCHEMAS | operating_schemas() | administering_schemas()
    schemas |= {"Batch": _BATCH, "BatchAnswer": closed({"jobs": _list_of(_ENTRY)})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Carom",
            "version": __version__,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": _HEADERS,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, `carom_<id>_<secret>`."}
            },
        },
    }


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


@cache
def document_bytes() -> bytes:
    return msgspec.json.encode(document())
