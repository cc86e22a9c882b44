"""Keys that are made through the API: what may be asked for, who may give what, and keys as documents."""

import os
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from carom_common.domain.clock import rfc3339
from carom_intake.domain.addresses import parse_networks
from carom_intake.domain.checks import Problem
from carom_intake.domain.keys import ID, MAX_CIDRS, TENANT, Key, KeyRate, Name, Scope, StoredKey, hash_of
from carom_intake.domain.operating import parse_struct
from carom_intake.domain.submission import InvalidSubmission

MAX_KEYS = 10_000
MAX_KEYS_OF_TENANT = 1000
RESERVED = frozenset({"callback"})
"""Ids that are paths of their own below `/api/keys`."""

_Cidr = Annotated[str, Meta(max_length=49, pattern=r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$")]


class KeyAsked(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A key to be made. Without `tenant` it is of the caller's; without `expiresAt` it has no end."""

    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=10)]
    id: Annotated[str, Meta(pattern=rf"^{ID}(?!\n)$")] | None = None
    name: Name = ""
    tenant: Annotated[str, Meta(pattern=rf"^{TENANT}(?!\n)$")] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    cidrs: Annotated[tuple[_Cidr, ...], Meta(max_length=MAX_CIDRS)] = ()
    rate: KeyRate | None = None


def parse_key_asked(body: bytes, now: datetime) -> KeyAsked:
    """The body of `POST /api/keys` that came at `now`; raises InvalidSubmission with all problems."""
    asked = parse_struct(body, KeyAsked)
    problems = []
    if asked.id in RESERVED:
        problems.append(Problem("/id", f"{asked.id} is the name of something else here"))
    if asked.expires_at is not None and asked.expires_at <= now:
        problems.append(Problem("/expiresAt", "is over already"))
    for place, cidr in enumerate(asked.cidrs):
        try:
            parse_networks([cidr])
        except ValueError as error:
            problems.append(Problem(f"/cidrs/{place}", str(error)))
    if problems:
        raise InvalidSubmission(problems)
    return asked


def beyond(asked: KeyAsked, granted: frozenset[Scope]) -> list[Scope]:
    """The scopes that are asked for and that the creator has not: nobody gives what is not theirs."""
    return [scope for scope in asked.scopes if scope not in granted]


def made_key(asked: KeyAsked, secret: str, tenant: str, now_ms: int, by: str) -> StoredKey:
    """The key to be kept: with the hash of its secret alone."""
    return StoredKey(
        asked.id or f"k{os.urandom(8).hex()}",
        hash_of(secret),
        sorted(set(asked.scopes)),
        tenant,
        asked.name,
        asked.expires_at,
        asked.cidrs,
        asked.rate,
        created_at=now_ms,
        created_by=by,
    )


def key_document(key: Key) -> dict[str, Any]:
    """A key without its hash, which is nobody's business."""
    stored = key if isinstance(key, StoredKey) else None
    rate = {"perSecond": key.rate.per_second, "burst": key.rate.burst} if key.rate else None
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": key.scopes,
        "expiresAt": _time(key.expires_at),
        "cidrs": key.cidrs,
        "rate": rate,
        "source": "api" if stored else "file",
        "createdAt": rfc3339(stored.created_at) if stored else None,
        "createdBy": (stored.created_by or None) if stored else None,
    }


def _time(when: datetime | None) -> str | None:
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z") if when else None
