"""Schemas of what Carom answers. Closed objects: a field that is not described fails a test."""

from carom_common.adapters.store.stats import COUNTED
from carom_common.contracts.job import Priority, Status
from carom_common.domain.filters import REASONS
from carom_intake.domain.explaining.parts import CODES
from carom_intake.openapi.describing import Schema
from carom_intake.openapi.schemas import MAYBE_TIME, MS, TIME

ANY: Schema = {}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_NUMBER: Schema = {"type": ["number", "null"], "minimum": 0}
NUMBER: Schema = {"type": "number", "minimum": 0}
UUID: Schema = {"type": "string", "format": "uuid"}
STATUS: Schema = {"type": "string", "enum": [str(status) for status in Status]}
CODE: Schema = {"type": ["integer", "null"], "minimum": 100, "maximum": 599}
STATUSES: Schema = {
    "type": "array",
    "items": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[1-5]xx$"}]},
}
STRINGS: Schema = {"type": "object", "additionalProperties": TEXT}
REASON: Schema = {
    "type": ["string", "null"],
    "description": "A code of what went wrong; more may come: " + ", ".join(f"`{reason}`" for reason in REASONS) + ".",
}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def closed(fields: dict[str, Schema], optional: dict[str, Schema] | None = None, description: str = "") -> Schema:
    """An object with these fields and no others."""
    found: Schema = {
        "type": "object",
        "properties": fields | (optional or {}),
        "required": list(fields),
        "additionalProperties": False,
    }
    return found | ({"description": description} if description else {})


def listed(name: str, item: str) -> Schema:
    """A page of a list."""
    cursor = MAYBE_TEXT | {"description": "Where the list goes on; null at its end."}
    return closed({name: {"type": "array", "items": ref(item)}, "nextCursor": cursor})


CALLBACK = closed(
    {
        "status": {"type": "string", "enum": ["none", "pending", "delivered", "failed"]},
        "attempts": MS,
        "lastError": MAYBE_TEXT,
        "nextAttemptAt": MAYBE_TIME,
    }
)
_CALLBACK_RETRY = closed({"maxRetries": MS, "retryDelay": MS, "strategy": TEXT, "maxDelay": MS, "jitter": TEXT})
_CALLBACK_REQUEST = closed(
    {
        "url": TEXT,
        "method": TEXT,
        "headers": STRINGS,
        "events": {"type": "array", "items": TEXT},
        "retry": {"anyOf": [{"type": "null"}, _CALLBACK_RETRY], "description": "Null: as configured."},
        "timeout": {"type": ["integer", "null"], "minimum": 0, "description": "In ms; null: as configured."},
    }
)
_SUMMARY: dict[str, Schema] = {
    "jobId": UUID,
    "status": STATUS,
    "targetUrl": TEXT,
    "method": TEXT,
    "priority": {"type": "string", "enum": list(Priority.__args__)},  # type: ignore[attr-defined]
    "labels": STRINGS,
    "attempts": MS,
    "createdAt": TIME,
    "updatedAt": TIME,
    "completedAt": MAYBE_TIME,
    "nextAttemptAt": MAYBE_TIME,
    "expiresAt": MAYBE_TIME,
    "error": TEXT,
    "reason": REASON,
    "waitReason": MAYBE_TEXT | {"description": "Why a job that could run is held."},
    "callback": CALLBACK,
}
_STEP: dict[str, Schema] = {
    "code": TEXT
    | {"description": "Where it is, for programs; more may come: " + ", ".join(f"`{c}`" for c in CODES) + "."},
    "where": TEXT,
    "why": TEXT,
    "next": TEXT,
    "since": MAYBE_TIME | {"description": "Since when it is there; null where nobody knows."},
    "do": MAYBE_TEXT | {"description": "What helps; null where nothing does, or need."},
}
_SEED_ENTRY: dict[str, Schema] = {"attempt": MS, "statusCode": CODE, "success": FLAG, "timestamp": TIME}
_SEED_OPTIONAL: dict[str, Schema] = {"response": ANY, "error": TEXT, "truncated": FLAG}
_TYPED_ENTRY = closed(
    _SEED_ENTRY | {"generation": {"type": "integer", "minimum": 1}, "durationMs": MS, "reason": REASON}, _SEED_OPTIONAL
)
_DIGITS: Schema = {"type": "string", "pattern": "^[0-9]+$"}
_WINDOW = closed(
    {
        **dict.fromkeys(COUNTED, MS),
        "ratePerSecond": closed(dict.fromkeys(("accepted", "finished", "attempts"), NUMBER)),
        "latencyMs": closed(dict.fromkeys(("p50", "p99"), MAYBE_NUMBER)),
    }
)

ANSWERS: dict[str, Schema] = {
    "Problem": closed(
        {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "requestId": TEXT},
        {
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {
                        "pointer": TEXT | {"description": "JSON Pointer (RFC 6901), or `?name` for a parameter."},
                        "detail": TEXT,
                    },
                },
            },
            "reason": TEXT | {"description": "A code for programs, where the status leaves several."},
        },
        "RFC 9457.",
    ),
    "Accepted": closed({"jobId": UUID, "status": {"enum": ["queued", "scheduled"]}, "message": TEXT}),
    "JobSummary": closed(_SUMMARY),
    "JobDocument": closed(
        _SUMMARY
        | {
            "headers": STRINGS,
            "payload": ANY,
            "redact": {"type": "array", "items": TEXT},
            "sign": FLAG,
            "callbackUrl": MAYBE_TEXT,
            "maxRetries": MS,
            "retryDelay": MS,
            "success": closed({"statuses": STATUSES}),
            "timeout": MS,
            "retry": closed({"strategy": TEXT, "maxDelay": MS, "jitter": TEXT, "statuses": STATUSES}),
            "followRedirects": FLAG,
            "scheduledAt": MAYBE_TIME | {"description": "When it was to run first; null for at once."},
            "earlierAttempts": MS | {"description": "Attempts of earlier generations; they are part of `attempts`."},
            "generation": {"type": "integer", "minimum": 1},
            "callbackRequest": {"anyOf": [{"type": "null"}, _CALLBACK_REQUEST]},
            "response": {"anyOf": [{"type": "null"}, closed({"status": CODE, "body": ANY}, {"truncated": FLAG})]},
            "attemptsLog": {"type": "array", "items": _TYPED_ENTRY},
        },
        {"explanation": {"$ref": "#/components/schemas/Explanation"}},
        description="`payload`, `headers` and responses are empty to a key without `payloads:read`. Secrets in headers "
        "and what `redact` names, are `[redacted]` to everybody.",
    ),
    "Explanation": closed(
        _STEP
        | {
            "asOf": TIME,
            "callback": {
                "anyOf": [{"type": "null"}, closed(_STEP)],
                "description": "The same of the callback; null while the job is open, and where none is wanted.",
            },
        },
        description="Where the job is, why, and what happens next: sentences for people, whose words may change.",
    ),
    "SeedJob": closed(
        {
            "status": STATUS,
            "attempts": _DIGITS,
            "targetUrl": TEXT,
            "method": TEXT,
            "headers": STRINGS,
            "payload": ANY,
            "callbackUrl": MAYBE_TEXT,
            "maxRetries": _DIGITS,
            "retryDelay": _DIGITS,
            "createdAt": TIME,
            "updatedAt": TIME,
            "attemptsLog": {"type": "array", "items": closed(_SEED_ENTRY, _SEED_OPTIONAL)},
        },
        {"lastResponse": ANY, "error": TEXT},
    ),
    "Attempt": closed(
        {
            "attempt": MS,
            "generation": MS,
            "success": FLAG,
            "statusCode": CODE,
            "startedAt": TIME,
            "endedAt": TIME,
            "timing": {
                "anyOf": [
                    {"type": "null"},
                    closed(dict.fromkeys(("waitMs", "connectMs", "tlsMs", "firstByteMs", "totalMs"), MAYBE_NUMBER)),
                ]
            },
            "remoteAddress": MAYBE_TEXT,
            "request": closed({"method": TEXT, "url": TEXT, "headers": {"type": "object"}}),
            "response": {
                "anyOf": [
                    {"type": "null"},
                    closed({"headers": {"type": ["object", "null"]}, "body": ANY, "truncated": FLAG}),
                ]
            },
            "error": MAYBE_TEXT,
            "reason": REASON,
        }
    ),
    "Stats": closed(
        {
            "depth": closed({"open": MS, "kept": MS}),
            "oldestReadyAgeMs": MS,
            "running": MS,
            "held": MS,
            "dead": closed({"execute": MS, "callback": MS}),
            "windows": closed({"1m": _WINDOW, "5m": _WINDOW, "15m": _WINDOW}),
        }
    ),
}
"""By name, for `components/schemas`."""
