"""Headers that hold secrets: their names are shown, their values are not."""

import re
from collections.abc import Mapping

REDACTED = "[redacted]"

# What browsers and servers authenticate with, and the families of names that people choose for it: X-Api-Key,
# Private-Token, X-Vault-Token, CF-Access-Client-Secret, Ocp-Apim-Subscription-Key, X-Amz-Security-Token, ...
_SECRET = re.compile(
    r"""
    (?:x-)?(?:proxy-)?authorization \d?  | (?:set-)?cookie2?  | x-csrf.*  | x-xsrf.*
    | (?: .*[-_] )? (?: api-?key | token | secret | key | password | passwd | passphrase | credentials? | auth
                      | signature | session | session-?id )
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Names that end like a secret and are none: what is sent to repeat, to find or to check.
_SHOWN = frozenset({"idempotency-key", "x-idempotency-key", "surrogate-key", "cache-key", "x-cache-key"})


def is_secret(name: str) -> bool:
    """Whether the header of this name is not to be shown."""
    return _SECRET.fullmatch(name) is not None and name.lower() not in _SHOWN


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with `[redacted]` in place of secret values."""
    return {name: REDACTED if is_secret(name) else value for name, value in headers.items()}
