"""API keys: the file that holds them, and whether a request's `Authorization` is one of them.

A token is `carom_<id>_<secret>`. Only the SHA-256 of the secret is kept. No slow hash: secrets are random, not chosen
by people, and have at least 190 bits (32 letters and digits), which nobody guesses at any speed.
"""

import hashlib
import hmac
import math
import re
import secrets
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from carom_common.contracts.message import DEFAULT_TENANT
from carom_intake.domain.addresses import Address, parse_networks

ID = r"[a-z0-9][a-z0-9-]{0,31}"
TENANT = r"[a-z0-9][a-z0-9-]{0,62}"
SECRET_CHARACTERS = 48
MAX_CIDRS = 64
_AUTHORIZATION = re.compile(rf"(?i:bearer) +carom_({ID})_([A-Za-z0-9]{{32,128}})")
_ALPHABET = string.ascii_letters + string.digits
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


class Scope(StrEnum):
    """What a key may do; `admin` is all of it."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    PAYLOADS_READ = "payloads:read"
    OPERATE = "operate"
    ADMIN = "admin"


ALL_SCOPES = frozenset(Scope)


class KeyRate(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Requests a second that a key may make; `burst` is how many at once, a second's by default."""

    per_second: Annotated[float, Meta(ge=0.01, le=100_000)]
    burst: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


Name = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class Key(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """One entry of the file. With `cidrs` it counts for requests from there alone."""

    id: Annotated[str, Meta(pattern=rf"^{ID}\Z")]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    scopes: Annotated[list[Scope], Meta(min_length=1)]
    tenant: Annotated[str, Meta(pattern=rf"^{TENANT}\Z")] = DEFAULT_TENANT
    name: str = ""
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    cidrs: Annotated[tuple[str, ...], Meta(max_length=MAX_CIDRS)] = ()
    rate: KeyRate | None = None

    def __post_init__(self) -> None:
        parse_networks(self.cidrs)

    @property
    def granted(self) -> frozenset[Scope]:
        return ALL_SCOPES if Scope.ADMIN in self.scopes else frozenset(self.scopes)


class StoredKey(Key, frozen=True, kw_only=True):
    """A key that was made through the API: when, in Unix milliseconds, and by which key."""

    created_at: int
    created_by: str


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[Key]


_decode = msgspec.json.Decoder(_File).decode
_decode_stored = msgspec.json.Decoder(StoredKey).decode
encode_key = msgspec.json.Encoder().encode


class InvalidKeys(ValueError):
    """The file is no list of keys; one line that says where."""


class Refusal(StrEnum):
    """Why a request is not let in. For our metrics only: the client is told the same in all cases."""

    MISSING = "missing"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    ADDRESS = "address"
    """The right secret, from an address outside the key's CIDRs."""
    UNKNOWN_KEY = "unknown-key"
    """A token of an identity provider, signed with a key that is not among the provider's."""
    TENANT = "tenant"
    """A good token that names no tenant."""


def _nowhere() -> Address | None:
    return None


class Keys:
    """Some keys, looked up by id; of two with the same id the later one counts."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.by_id: Mapping[str, Key] = {key.id: key for key in keys}
        self._networks = {key.id: parse_networks(key.cidrs) for key in self.by_id.values() if key.cidrs}

    def __len__(self) -> int:
        return len(self.by_id)

    def next_expiry(self, now: datetime) -> float:
        """When the first of those that are still good expires, in Unix time; +Inf where none does."""
        ends = (key.expires_at for key in self.by_id.values())
        return min((end.timestamp() for end in ends if end is not None and end > now), default=math.inf)

    def verify(
        self, authorization: Sequence[str], now: datetime, address: Callable[[], Address | None] = _nowhere
    ) -> Key | Refusal:
        """The key that a request's `Authorization` headers prove; `address` says where it comes from, if asked.

        The time it takes tells nothing: an id that is unknown and a token that is none are hashed and compared too.
        What is looked at after that is told apart by who has the secret alone.
        """
        given = _AUTHORIZATION.fullmatch(authorization[0]) if len(authorization) == 1 else None
        key_id, secret = given.groups() if given else ("", "")
        key = self.by_id.get(key_id)
        proven = hmac.compare_digest(hash_of(secret), key.hash if key else _NOBODY)
        if not authorization:
            return Refusal.MISSING
        if not given:
            return Refusal.MALFORMED
        if key is None or not proven:
            return Refusal.UNKNOWN
        if key.expires_at is not None and key.expires_at <= now:
            return Refusal.EXPIRED
        if key.cidrs and not self._networks[key_id].hold(address()):
            return Refusal.ADDRESS
        return key


def parse_keys(text: bytes) -> Keys:
    """The keys in a file's JSON, `{"keys": [...]}`; raises InvalidKeys."""
    try:
        keys = _decode(text).keys
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidKeys(" ".join(str(error).split())) from None
    seen: set[str] = set()
    for place, key in enumerate(keys):
        if key.id in seen:
            raise InvalidKeys(f"the id {key.id} is given twice - at `$.keys[{place}]`")
        seen.add(key.id)
    return Keys(keys)


def parse_stored(entry: bytes) -> StoredKey | None:
    """A key as the store has it; None for one that a newer version wrote, whose limits are not known here."""
    try:
        return _decode_stored(entry)
    except msgspec.MsgspecError:
        return None


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class NewKey(NamedTuple):
    token: str
    """For the caller; kept nowhere."""
    key: Key


def new_secret() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(SECRET_CHARACTERS))


def token_of(key_id: str, secret: str) -> str:
    return f"carom_{key_id}_{secret}"


def new_key(
    key_id: str,
    tenant: str,
    scopes: Sequence[Scope],
    name: str = "",
    expires_at: datetime | None = None,
    cidrs: Sequence[str] = (),
    rate: KeyRate | None = None,
) -> NewKey:
    secret = new_secret()
    key = Key(key_id, hash_of(secret), list(scopes), tenant, name, expires_at, tuple(cidrs), rate)
    return NewKey(token_of(key_id, secret), key)
