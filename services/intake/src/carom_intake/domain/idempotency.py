"""The `Idempotency-Key` of a request (draft-ietf-httpapi-idempotency-key-header) and what it is compared by."""

import hashlib
import re
from collections.abc import Sequence

MAX_KEY = 255
HEADER = "Idempotency-Key"

_BARE = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPED = re.compile(r'\\(["\\])')


class InvalidKey(ValueError):
    """The header is no key; the text says what one is."""

    def __init__(self) -> None:
        super().__init__(f"{HEADER} must be 1 to {MAX_KEY} visible ASCII characters, bare or as a quoted string, once")


def key_in(values: Sequence[str]) -> str | None:
    """The key in the values of the header, None without one. `"k"` and `k` are the same key; raises InvalidKey."""
    if not values:
        return None
    if len(values) > 1:
        raise InvalidKey
    text = values[0].strip(" \t")
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise InvalidKey
        text = _ESCAPED.sub(r"\1", quoted[1])
    if not _BARE.fullmatch(text):
        raise InvalidKey
    return text


def fingerprint(path: str, body: bytes) -> str:
    """What two requests with one key must share: the path and the body, byte for byte."""
    digest = hashlib.sha256(path.encode())
    digest.update(b"\n")
    digest.update(body)
    return digest.hexdigest()
