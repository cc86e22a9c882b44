"""Administrative acts as they are written down: who did what, when, from where, and to how many."""

import re
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from carom_common.domain.clock import rfc3339

PLACE = r"[0-9]{1,18}-[0-9]{1,18}"
_PLACE = re.compile(PLACE)


class AuditAct(StrEnum):
    """What an operator may do."""

    KEY_MADE = "key-made"
    KEY_DELETED = "key-deleted"
    PAUSED = "paused"
    RESUMED = "resumed"
    DESTINATION_SET = "destination-set"
    DESTINATION_RESET = "destination-reset"
    DEAD_LETTER_REDRIVEN = "dead-letter-redriven"
    DEAD_LETTER_FORGOTTEN = "dead-letter-forgotten"
    BULK_CANCEL_STARTED = "bulk-cancel-started"
    BULK_CANCEL_ENDED = "bulk-cancel-ended"
    BULK_REDRIVE_STARTED = "bulk-redrive-started"
    BULK_REDRIVE_ENDED = "bulk-redrive-ended"


class Entry(Struct, frozen=True, omit_defaults=True):
    """One act. `by` is the id of a key, empty where keys are off; `at` in Unix milliseconds."""

    at: int
    tenant: str
    by: str
    address: str
    act: AuditAct
    subject: str
    """The key, host, job or bulk act; a pause's selection."""
    count: int | None = None
    """Jobs, or keys, that it concerned; None where that is not known (yet)."""
    request_id: str = ""
    detail: str = ""


encode_entry = msgspec.json.Encoder().encode
decode_entry = msgspec.json.Decoder(Entry).decode


def entry_document(place: str, entry: Entry) -> dict[str, Any]:
    return {
        "id": place,
        "at": rfc3339(entry.at),
        "tenant": entry.tenant,
        "by": entry.by or None,
        "address": entry.address or None,
        "act": entry.act,
        "subject": entry.subject,
        "count": entry.count,
        "requestId": entry.request_id or None,
        "detail": entry.detail or None,
    }


def is_place(text: str) -> bool:
    return bool(_PLACE.fullmatch(text))
