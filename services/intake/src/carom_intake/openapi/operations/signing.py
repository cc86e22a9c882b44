"""What receivers verify signatures with."""

from carom_intake.domain.keys import Scope
from carom_intake.openapi.describing import Answer, Operation
from carom_intake.openapi.shapes import TEXT, closed

_KEY = closed(
    {
        "signature": {"type": "string", "const": "v1a"},
        "algorithm": {"type": "string", "const": "ed25519"},
        "key": TEXT | {"description": "`whpk_` and 32 bytes in base64."},
    }
)
_EXAMPLE = {"signature": "v1a", "algorithm": "ed25519", "key": "whpk_Mm6VHoFYdKZgoCLVZ9mLFQ8RBpu4gmo+CYHMn4Gpq4Y="}

OPERATIONS = (
    Operation(
        "GET",
        "/api/keys/callback",
        "listSigningKeys",
        "looking",
        "List the public keys that verify callbacks",
        "Of the caller's tenant; any of them may have signed. Secrets of `v1` (HMAC) are never shown.",
        Scope.JOBS_READ,
        {200: Answer("The keys.", closed({"keys": {"type": "array", "items": _KEY}}), {"keys": [_EXAMPLE]})},
        (400,),
    ),
)
