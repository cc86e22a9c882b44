"""Schemas of what clients send: from the contracts' structs, with the rules that no type expresses added."""

import inspect
from typing import Any

import msgspec

from carom_common.contracts import job as contract
from carom_common.domain.framing import FRAMING_HEADERS
from carom_intake.domain.checks import MAX_HEADERS, MAX_URL, SIGNATURES_OWN
from carom_intake.openapi.describing import Schema

REF = "#/components/schemas/{name}"

URL: Schema = {
    "type": "string",
    "description": "Absolute `http` or `https` URL without user name, spaces and control characters, of a scheme, port "
    "and host that the operator lets be called.",
    "maxLength": MAX_URL,
    "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^\u0000-\u0020\u007f\\@/?#]+([/?#][^\u0000-\u0020\u007f\\]*)?$",
}
TIME: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, with its offset."}
MS: Schema = {"type": "integer", "minimum": 0}
MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}


class Job(contract.Job, kw_only=True, frozen=True):
    """One HTTP call to make, and how to make it. Durations in milliseconds, times as in RFC 3339.

    `callbackUrl` (null: none is wanted) or `callback` must be given, not both. At most one of `delay` and `runAt`, and
    one of `ttl` and `expiresAt`.
    """

    payload: Any = None  # the contract has it as raw JSON, whose default no schema can show


def nullable(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def any_case(names: frozenset[str] | tuple[str, ...]) -> str:
    """A pattern for names in any case: patterns of JSON Schema have no flags."""
    return "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in name) for name in sorted(names))


def headers_schema(*refused: str) -> Schema:
    owned = any_case(FRAMING_HEADERS | {"host", *refused})
    return {
        "type": "object",
        "description": "Names are tokens (RFC 9110), none of the connection's own, none `X-Carom-*`, each given "
        "once in any case; at most 16 KiB. The operator may refuse more, and allow `Host`.",
        "maxProperties": MAX_HEADERS,
        "propertyNames": {
            "pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
            "not": {"pattern": f"^({owned}|{any_case(('x-carom-',))}.*)$"},
        },
        "additionalProperties": {"type": "string", "pattern": r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$"},
        "default": {},
    }


DESCRIPTIONS = {
    "payload": "Any JSON, sent as JSON; a string under another `Content-Type` is sent raw. None for `GET` and `HEAD`.",
    "maxRetries": "Attempts after the first one.",
    "retryDelay": "Milliseconds.",
    "timeout": "Milliseconds for one attempt.",
    "delay": "Milliseconds until the job runs.",
    "ttl": "Milliseconds from acceptance; a job that has not finished by then ends `expired`.",
    "followRedirects": "At most 5, each hop checked.",
    "labels": "For filters; keys and values as in Kubernetes.",
    "priority": "High is taken first; low is never starved.",
    "success": "Which answers complete the job.",
    "redact": "JSON Pointers (RFC 6901) to what of the payload is sent, but shown as `[redacted]`.",
    "sign": "Sign the call as callbacks are signed (Standard Webhooks), under the job's id as `webhook-id`.",
}


def request_schemas() -> dict[str, Schema]:
    """By name, for `components/schemas`."""
    _, found = msgspec.json.schema_components([Job], ref_template=REF)
    for schema in found.values():
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
    job, callback = found["Job"], found["Callback"]
    fields = job["properties"]
    for name, text in DESCRIPTIONS.items():
        fields[name] = _described(fields[name], text)
    fields["targetUrl"] = URL
    fields["callbackUrl"] = nullable(URL) | {"description": "Where the result goes; null where none is wanted."}
    fields["headers"] = headers_schema()
    fields["runAt"] = nullable(TIME) | {"description": "When the job runs, up to 365 days ahead."}
    fields["expiresAt"] = nullable(TIME) | {"description": "A job that has not finished by then ends `expired`."}
    fields["redact"] |= {"maxItems": fields["redact"].pop("maxItems", 32), "uniqueItems": True}
    fields["labels"] |= {"maxProperties": fields["labels"].pop("maxProperties", 16)}
    job["allOf"] = [
        {
            "if": {"required": ["sign"], "properties": {"sign": {"const": True}}},
            "then": {
                "properties": {"headers": {"propertyNames": {"not": {"pattern": f"^({any_case(SIGNATURES_OWN)})$"}}}}
            },
        },
        {
            "oneOf": [
                {"required": ["callbackUrl"], "properties": {"callback": {"type": "null"}}},
                {
                    "required": ["callback"],
                    "properties": {"callback": {"type": "object"}, "callbackUrl": False},
                },
            ]
        },
        _not_both("delay", "integer", "runAt"),
        _not_both("ttl", "integer", "expiresAt"),
    ]
    callback["properties"]["url"] = URL
    callback["properties"]["headers"] = headers_schema(*SIGNATURES_OWN, "content-type")
    callback["properties"]["events"]["uniqueItems"] = True
    return found


def _described(schema: Schema, text: str) -> Schema:
    return {"allOf": [schema], "description": text} if "$ref" in schema else schema | {"description": text}


def _not_both(one: str, kind: str, other: str) -> Schema:
    given = {one: {"type": kind}, other: {"type": "string"}}
    return {"not": {"required": [one, other], "properties": given}}
