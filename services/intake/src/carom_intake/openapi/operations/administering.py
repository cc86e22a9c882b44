"""Keys, and who did what."""

from carom_intake.domain.audit import PLACE, AuditAct
from carom_intake.domain.keys import ID, TENANT, Scope
from carom_intake.openapi.describing import Answer, Body, Operation, Parameter
from carom_intake.openapi.operations.common import AT, LIMIT
from carom_intake.openapi.shapes import listed, ref

_KEY_ID = Parameter("keyId", "The id in the key's token.", {"type": "string", "pattern": f"^{ID}$"}, "path")
_TENANT = Parameter(
    "tenant",
    "Another tenant than the caller's: for admins of the operators' tenant alone.",
    {"type": "string", "pattern": f"^{TENANT}$"},
)
_CURSOR = Parameter("cursor", "`nextCursor` of the page before.", {"type": "string"})
_KEY = {
    "id": "shop",
    "name": "the shop's backend",
    "tenant": "default",
    "scopes": ["jobs:read", "jobs:write"],
    "expiresAt": "2031-01-31T00:00:00Z",
    "cidrs": ["10.0.0.0/8"],
    "rate": {"perSecond": 50, "burst": 100},
    "source": "api",
    "createdAt": AT,
    "createdBy": "admin",
}
_ENTRY = {
    "id": "1769851800000-0",
    "at": AT,
    "tenant": "default",
    "by": "admin",
    "address": "10.1.2.3",
    "act": AuditAct.KEY_MADE,
    "subject": "shop",
    "count": 1,
    "requestId": "3f0c8d6b",
    "detail": "tenant default: jobs:read, jobs:write",
}

OPERATIONS = (
    Operation(
        "POST",
        "/api/keys",
        "makeKey",
        "administering",
        "Make an API key",
        "The answer has its token, which is told this once. The key counts at once in the replica that answers, and "
        "within 5 s in all. Admins make keys of their own tenant; those of the operators' tenant, of any.",
        Scope.ADMIN,
        {
            201: Answer(
                "The key, and its token.",
                ref("NewKey"),
                {"key": _KEY, "token": "carom_shop_" + "x" * 48},
                headers={
                    "Location": {"description": "Where it is.", "schema": {"type": "string"}},
                    "Cache-Control": {"schema": {"type": "string", "const": "no-store"}},
                },
            )
        },
        (400, 409, 413, 415, 503),
        (),
        Body(
            ref("KeyAsked"),
            {
                "simple": ("For submitting jobs", {"scopes": ["jobs:write"]}),
                "narrow": (
                    "With a name, an end, where it counts, and how often",
                    {
                        "name": "the shop's backend",
                        "scopes": ["jobs:write", "jobs:read"],
                        "expiresAt": "2101-01-31T00:00:00Z",
                        "cidrs": ["10.0.0.0/8", "2001:db8::/32"],
                        "rate": {"perSecond": 50, "burst": 100},
                    },
                ),
            },
        ),
    ),
    Operation(
        "GET",
        "/api/keys",
        "listKeys",
        "administering",
        "List the API keys",
        "Of a tenant, from the mounted file and from the API, in the order of their ids.",
        Scope.ADMIN,
        {200: Answer("A page.", listed("keys", "Key"), {"keys": [_KEY], "nextCursor": None})},
        (400, 503),
        (LIMIT, _CURSOR, _TENANT),
    ),
    Operation(
        "GET",
        "/api/keys/{keyId}",
        "getKey",
        "administering",
        "Show an API key",
        "Never its secret, nor the hash of that.",
        Scope.ADMIN,
        {200: Answer("The key.", ref("Key"), _KEY)},
        (400, 404, 503),
        (_KEY_ID,),
    ),
    Operation(
        "DELETE",
        "/api/keys/{keyId}",
        "deleteKey",
        "administering",
        "Delete an API key",
        "Nobody gets in with it any more: here at once, anywhere within 5 s. One of the file is taken out of the file.",
        Scope.ADMIN,
        {204: Answer("It is gone.")},
        (400, 404, 409, 503),
        (_KEY_ID,),
    ),
    Operation(
        "GET",
        "/api/audit",
        "listAudit",
        "administering",
        "Show who did what",
        "Administrative acts of a tenant's keys, newest first: about the last 10,000; the log has all, as `audit`.",
        Scope.ADMIN,
        {200: Answer("A page.", listed("entries", "AuditEntry"), {"entries": [_ENTRY], "nextCursor": None})},
        (400, 503),
        (
            LIMIT,
            Parameter("cursor", "`nextCursor` of the page before.", {"type": "string", "pattern": f"^({PLACE})?$"}),
            _TENANT,
        ),
    ),
)
