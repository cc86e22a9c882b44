"""JSON Web Tokens of an identity provider (RFC 7519, RFC 8725): whether one is good, and whom it names. Pure.

Only signatures of public keys are taken, each key with the one algorithm that is its own: what a token's header says
chooses among the keys, never how one is used. `none` and HMAC are no algorithms here.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt
import msgspec
from jwt import PyJWK, PyJWTError
from msgspec import Struct

from carom_intake.domain.keys import ALL_SCOPES, TENANT, Refusal, Scope

MAX_TOKEN = 16_384
MAX_KEYS = 100
MIN_RSA_BITS = 2048
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)  # fmt: skip
BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)")
_SUBJECT = re.compile(r"[\w.@:|/+=-]{1,128}", re.ASCII)


class Expected(NamedTuple):
    """What tokens must say. A claim is named as it is, or by a JSON Pointer; `leeway` in seconds."""

    issuer: str
    audience: str
    scope_claim: str
    tenant_claim: str
    leeway: float


class Bearer(NamedTuple):
    """Whom a good token names, and until when, in Unix seconds."""

    id: str
    tenant: str
    scopes: frozenset[Scope]
    expires: float


class _Set(Struct):
    keys: list[dict[str, Any]]


_decode_set = msgspec.json.Decoder(_Set).decode


def parse_key_set(text: bytes) -> dict[str, PyJWK]:
    """The public keys of a JWKS (RFC 7517) by `kid`, without those that are of no use here; raises ValueError."""
    try:
        entries = _decode_set(text).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is no key set: {error}") from None
    found = {}
    for entry in entries[:MAX_KEYS]:
        key_id, use = entry.get("kid"), entry.get("use", "sig")
        if not isinstance(key_id, str) or use != "sig" or entry.get("kty") not in ("RSA", "EC", "OKP") or "d" in entry:
            continue
        try:
            key = PyJWK(entry)
        except (PyJWTError, TypeError, ValueError, AttributeError):
            continue
        if key.algorithm_name in ALGORITHMS and getattr(key.key, "key_size", MIN_RSA_BITS) >= _least_bits(entry):
            found[key_id] = key
    return found


def _least_bits(entry: Mapping[str, Any]) -> int:
    return MIN_RSA_BITS if entry["kty"] == "RSA" else 0


def verify_token(token: str, keys: Mapping[str, PyJWK], expected: Expected) -> Bearer | Refusal:
    """Whom the token names; UNKNOWN_KEY where its key is not among these."""
    if len(token) > MAX_TOKEN:
        return Refusal.MALFORMED
    try:
        header = jwt.get_unverified_header(token)
        key_id = header.get("kid")
        key = keys.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            return Refusal.UNKNOWN_KEY
        if header.get("alg") != key.algorithm_name or "crit" in header:
            return Refusal.MALFORMED
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=expected.issuer,
            audience=expected.audience,
            leeway=expected.leeway,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        expires = float(claims["exp"]) + expected.leeway
    except jwt.ExpiredSignatureError:
        return Refusal.EXPIRED
    except (PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
        return Refusal.UNKNOWN
    tenant = _claim(claims, expected.tenant_claim)
    if not isinstance(tenant, str) or not re.fullmatch(TENANT, tenant):
        return Refusal.TENANT
    scopes = _scopes(_claim(claims, expected.scope_claim))
    return Bearer(_id_of(claims["sub"]), tenant, scopes, expires)


def _claim(claims: Any, name: str) -> Any:
    if not name.startswith("/"):
        return claims.get(name)
    for step in name[1:].split("/"):
        if not isinstance(claims, dict):
            return None
        claims = claims.get(step.replace("~1", "/").replace("~0", "~"))
    return claims


def _scopes(given: Any) -> frozenset[Scope]:
    """Those that are Carom's, out of a list or of a text with spaces (RFC 8693); others are somebody else's."""
    names = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    found = frozenset(scope for scope in Scope if scope in names)
    return ALL_SCOPES if Scope.ADMIN in found else found


def _id_of(subject: str) -> str:
    """No API key has such an id."""
    return f"oidc:{subject if _SUBJECT.fullmatch(subject) else hashlib.sha256(subject.encode()).hexdigest()[:32]}"
