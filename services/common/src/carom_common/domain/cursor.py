"""Where a list goes on: opaque to clients, versioned, and good for one question only."""

import base64
import binascii
from typing import NamedTuple

import msgspec

VERSION = 1
MAX_CURSOR = 256

_Parts = tuple[int, int, str, str]
_decode = msgspec.json.Decoder(_Parts).decode


class Position(NamedTuple):
    """The last entry that was read; a list goes on with older ones. Created in Unix milliseconds."""

    created: int
    job_id: str


class BadCursor(ValueError):
    """No cursor of this question; the text says why."""


def encode_cursor(position: Position, fingerprint: str) -> str:
    parts = msgspec.json.encode((VERSION, position.created, position.job_id, fingerprint))
    return base64.urlsafe_b64encode(parts).rstrip(b"=").decode()


def decode_cursor(text: str, fingerprint: str) -> Position:
    """Raise BadCursor for what `encode_cursor` has not made, or made for another filter."""
    if len(text) > MAX_CURSOR:
        raise BadCursor(f"is longer than {MAX_CURSOR} characters")
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, created, job_id, asked = _decode(raw)
    except (UnicodeError, binascii.Error, msgspec.DecodeError):
        raise BadCursor("is no cursor: give the nextCursor of the page before, as it is") from None
    if version != VERSION:
        raise BadCursor("is of another version: begin anew without a cursor")
    if asked != fingerprint:
        raise BadCursor("belongs to other filters: repeat those of the first page, or begin anew without a cursor")
    if not (0 <= created < 2**53 and 0 < len(job_id) <= 64):
        raise BadCursor("is no cursor: give the nextCursor of the page before, as it is")
    return Position(created, job_id)
