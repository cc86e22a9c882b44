"""Schemas of keys and of the audit trail."""

import inspect
from typing import Any

import msgspec

from carom_intake.domain.audit import PLACE, AuditAct
from carom_intake.domain.key_making import KeyAsked
from carom_intake.domain.keys import Scope
from carom_intake.openapi.describing import Schema
from carom_intake.openapi.schemas import MAYBE_TIME, REF, TIME
from carom_intake.openapi.shapes import MAYBE_TEXT, NUMBER, TEXT, closed, ref

_SCOPES: Schema = {"type": "array", "items": {"type": "string", "enum": [str(scope) for scope in Scope]}}
_RATE: Schema = {
    "anyOf": [{"type": "null"}, closed({"perSecond": NUMBER, "burst": {"type": ["integer", "null"], "minimum": 1}})]
}
_KEY: dict[str, Schema] = {
    "id": TEXT,
    "name": TEXT,
    "tenant": TEXT,
    "scopes": _SCOPES,
    "expiresAt": MAYBE_TIME,
    "cidrs": {"type": "array", "items": TEXT},
    "rate": _RATE,
    "source": {"type": "string", "enum": ["api", "file"]},
    "createdAt": MAYBE_TIME,
    "createdBy": MAYBE_TEXT | {"description": "The id of a key."},
}
_ENTRY: dict[str, Schema] = {
    "id": {"type": "string", "pattern": f"^{PLACE}$"},
    "at": TIME,
    "tenant": TEXT,
    "by": MAYBE_TEXT | {"description": "The id of a key; null where keys are off."},
    "address": MAYBE_TEXT | {"description": "Where the request came from."},
    "act": {"type": "string", "enum": [str(act) for act in AuditAct]},
    "subject": TEXT | {"description": "A key, host, job or bulk act, or the selection of a pause."},
    "count": {"type": ["integer", "null"], "minimum": 0, "description": "Jobs or keys; null where that is not known."},
    "requestId": MAYBE_TEXT,
    "detail": MAYBE_TEXT,
}


def administering_schemas() -> dict[str, Schema]:
    """By name, for `components/schemas`."""
    _, found = msgspec.json.schema_components([KeyAsked], ref_template=REF)
    asked: dict[str, Any] = dict(found)
    for schema in asked.values():
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
    fields = asked["KeyAsked"]["properties"]
    fields["name"]["pattern"] = r"^[^\u0000-\u001f\u007f]*$"
    return asked | {
        "Key": closed(_KEY, description="A key, without its secret."),
        "NewKey": closed({"key": ref("Key"), "token": TEXT | {"description": "Told this once, and kept nowhere."}}),
        "AuditEntry": closed(_ENTRY),
    }
