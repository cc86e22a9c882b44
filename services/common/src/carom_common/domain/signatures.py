"""Standard Webhooks signatures (https://www.standardwebhooks.com): `v1` is HMAC-SHA256, `v1a` is ed25519. Pure.

A secret is `whsec_` and 24 to 64 bytes, or `whsk_` and the 32 bytes of an ed25519 private key, with or without its 32
public ones behind; `whpk_` is a public key alone. All in base64.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

import msgspec
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_seed_keypair

HMAC_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"
EVERYBODY = "*"
"""In place of a tenant: those that have no keys of their own."""
MAX_KEYS = 8
"""Of one tenant: one signs, others come and go."""
KEY_BYTES = 32

_FORMS = (
    "must be whsec_ and 24 to 64 bytes in base64 (whsec_$(openssl rand -base64 32)), whsk_ and an ed25519 private key, "
    "or whpk_ and a public one"
)
_decode = msgspec.json.Decoder(dict[str, list[str]]).decode


class InvalidKeys(ValueError):
    """What is wrong with the keys, in one line that repeats none of them."""


class Signer:
    """The keys of one tenant: all of them sign, so that a receiver may change from one to the next at its own time."""

    __slots__ = ("_hmac", "_private", "public")

    def __init__(self, keys: Sequence[str]) -> None:
        """Raise InvalidKeys."""
        if not 1 <= len(keys) <= MAX_KEYS:
            raise InvalidKeys(f"must be 1 to {MAX_KEYS} keys")
        self._hmac: list[hmac.HMAC] = []
        """Each with its key taken in: to copy one costs a fraction of making it."""
        self._private: list[bytes] = []
        public: dict[str, None] = {}
        for secret in keys:
            if secret.startswith(PRIVATE_PREFIX):
                own, pair = _key_pair(secret)
                self._private.append(pair)
                public[_shown(own)] = None
            elif secret.startswith(PUBLIC_PREFIX):
                public[_shown(_raw(secret, PUBLIC_PREFIX, (KEY_BYTES, KEY_BYTES)))] = None
            else:
                self._hmac.append(hmac.new(_raw(secret, HMAC_PREFIX, (24, 64)), digestmod=hashlib.sha256))
        self.public = tuple(public)
        """`whpk_` of every key pair: what receivers verify `v1a` with."""

    @property
    def signs(self) -> bool:
        """False where there are public keys only, as where they are published."""
        return bool(self._hmac or self._private)

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The `webhook-signature` of one delivery at `timestamp` (Unix seconds): a signature a key, with spaces."""
        content = f"{message_id}.{timestamp}.".encode() + body
        return " ".join(
            [f"v1,{_b64(_digest(keyed, content))}" for keyed in self._hmac]
            + [f"v1a,{_b64(crypto_sign(content, pair)[:crypto_sign_BYTES])}" for pair in self._private]
        )

    def headers(self, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """All three headers of Standard Webhooks."""
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self.sign(message_id, timestamp, body),
        }


Signers = Mapping[str, Signer]
"""By tenant, and `*`."""


def signer_of(signers: Signers, tenant: str) -> Signer | None:
    """Who signs for a tenant: its own keys, else those of everybody."""
    return signers.get(tenant) or signers.get(EVERYBODY)


def signer_in(text: str) -> Signer:
    """The keys in a text, separated by spaces; raises InvalidKeys."""
    return Signer(text.split())


def parse_signers(text: bytes) -> dict[str, Signer]:
    """The keys in a file of JSON, a list for each tenant: `{"acme": ["whsk_...", "whsec_..."], "*": [...]}`."""
    try:
        found = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidKeys('must be JSON such as {"<tenant>": ["whsec_...", "whsk_..."], "*": [...]}') from None
    signers: dict[str, Signer] = {}
    for tenant, keys in found.items():
        try:
            signers[tenant] = Signer(keys)
        except InvalidKeys as error:
            raise InvalidKeys(f"the keys of {tenant[:63]!r} {error}") from None
    return signers


def new_private_key() -> tuple[str, str]:
    """A new ed25519 pair: `whsk_...` and `whpk_...`."""
    seed = secrets.token_bytes(KEY_BYTES)
    return PRIVATE_PREFIX + _b64(seed), _shown(crypto_sign_seed_keypair(seed)[0])


def _digest(keyed: hmac.HMAC, content: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(content)
    return mac.digest()


def _key_pair(secret: str) -> tuple[bytes, bytes]:
    """The public key, and the pair as libsodium signs with it: private and public key together."""
    raw = _raw(secret, PRIVATE_PREFIX, (KEY_BYTES, 2 * KEY_BYTES))
    seed, given = raw[:KEY_BYTES], raw[KEY_BYTES:]
    public, pair = crypto_sign_seed_keypair(seed)
    if given not in (b"", public):
        raise InvalidKeys(_FORMS)
    return public, pair


def _raw(secret: str, prefix: str, size: tuple[int, int]) -> bytes:
    try:
        raw = base64.b64decode(secret.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not size[0] <= len(raw) <= size[1]:
        raise InvalidKeys(_FORMS)
    return raw


def _shown(raw: bytes) -> str:
    return PUBLIC_PREFIX + _b64(raw)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
