"""Jobs and responses as broker and store keep them: sealed with AES-256-GCM where there are keys. Pure.

Each value is sealed under a key of its own process, made of the configured one by HKDF-SHA256 and 16 random bytes, with
a random nonce and the id of its job as associated data: a value of one job passes for none of another's. A process
takes new random bytes after 2^32 values, the most that random nonces are good for (NIST SP 800-38D, 8.3).

A sealed message is bytes, of which the first is 1; in records it is text, of which the first is `~`. JSON begins with
neither, so what was written before there were keys is read as before.
"""

import base64
import binascii
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES, SALT_BYTES, NONCE_BYTES = 32, 16, 12
MAX_KEYS = 16
CLEAR_FIRST = "clear"
"""In place of the first key, while keys are brought in or taken out: all learn to open before one seals."""
SEALED = b"\x01"
"""Begins a sealed message."""

_TEXT = b"~"
_INFO = b"carom sealing 1"
_SEALS_OF_A_SALT = 2**32
_REMEMBERED = 1024
_KEY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,31}):([A-Za-z0-9+/]{43}=)", re.ASCII)


class Unsealable(ValueError):
    """A sealed value that cannot be opened; the text says why and holds nothing of it."""


class SealingKey(NamedTuple):
    id: str
    key: bytes


def parse_sealing_keys(text: str) -> tuple[SealingKey, ...]:
    """The keys in `<id>:<32 bytes in base64>,...`; raises ValueError, which repeats none of them.

    `clear` in the first place stands for none: nothing is sealed, what is sealed already is opened.
    """
    keys: list[SealingKey] = []
    for part in filter(None, map(str.strip, text.split(","))):
        if part == CLEAR_FIRST and not keys:
            keys.append(SealingKey(CLEAR_FIRST, b""))
            continue
        given = _KEY.fullmatch(part)
        try:
            raw = base64.b64decode(given[2], validate=True) if given else b""
        except binascii.Error:
            raw = b""
        if given is None or len(raw) != KEY_BYTES:
            raise ValueError("must be <id>:<32 bytes in base64>, ... (such as a1:$(openssl rand -base64 32))")
        if any(key.id == given[1] for key in keys):
            raise ValueError(f"has the id {given[1]} twice")
        keys.append(SealingKey(given[1], raw))
    if len(keys) > MAX_KEYS:
        raise ValueError(f"must be at most {MAX_KEYS} keys")
    return tuple(keys)


class Vault:
    """Seals with the first of some keys and opens with all of them; without keys all stays as it is."""

    def __init__(self, keys: Sequence[SealingKey] = ()) -> None:
        self._keys = {key.id.encode(): key.key for key in keys if key.key}
        self._own = keys[0].id.encode() if keys and keys[0].key else b""
        self._opened: dict[bytes, AESGCM] = {}
        """By id of the key and random bytes, as they stand in a value."""
        self._left = 0
        self._head = b""
        self._cipher = AESGCM(bytes(KEY_BYTES))

    @property
    def seals(self) -> bool:
        return bool(self._own)

    def seal(self, job_id: str, data: bytes) -> bytes:
        """A value of a job for its record, as text."""
        if not self._own:
            return data
        return _TEXT + binascii.b2a_base64(self._seal(job_id.encode(), data), newline=False)

    def open(self, job_id: str, value: bytes) -> bytes:
        """What `seal` was given; raises Unsealable."""
        if not value.startswith(_TEXT):
            return value
        try:
            sealed = binascii.a2b_base64(value[1:], strict_mode=True)
        except binascii.Error:
            raise Unsealable("a sealed value is damaged") from None
        return self._open(job_id.encode(), sealed)

    def seal_message(self, job_id: str, body: bytes) -> bytes:
        """The body of a message about a job, which names the job in clear."""
        if not self._own:
            return body
        identity = job_id.encode()
        return SEALED + bytes((len(identity),)) + identity + self._seal(identity, body)

    def open_message(self, body: bytes) -> tuple[str | None, bytes]:
        """The job that a sealed body names, and the body; no job where it is not sealed. Raises Unsealable."""
        if not body.startswith(SEALED):
            return None, body
        end = 2 + (body[1] if len(body) > 1 else 0)
        identity = body[2:end]
        opened = self._open(identity, body[end:])
        return identity.decode("utf-8", "replace"), opened

    def _seal(self, identity: bytes, data: bytes) -> bytes:
        if not self._left:
            self._begin()
        self._left -= 1
        nonce = os.urandom(NONCE_BYTES)
        return self._head + nonce + self._cipher.encrypt(nonce, data, identity)

    def _begin(self) -> None:
        salt = os.urandom(SALT_BYTES)
        self._head = bytes((len(self._own),)) + self._own + salt
        self._cipher = _cipher(self._keys[self._own], salt)
        self._left = _SEALS_OF_A_SALT

    def _open(self, identity: bytes, sealed: bytes) -> bytes:
        end = 1 + (sealed[0] if sealed else 0) + SALT_BYTES
        head, nonce, data = sealed[:end], sealed[end : end + NONCE_BYTES], sealed[end + NONCE_BYTES :]
        if len(nonce) < NONCE_BYTES:
            raise Unsealable("a sealed value is damaged")
        cipher = self._opened.get(head)
        if cipher is None:
            cipher = self._cipher_for(head)
        try:
            return cipher.decrypt(nonce, data, identity)
        except InvalidTag:
            key = head[1:-SALT_BYTES].decode("ascii", "replace")
            raise Unsealable(f"it is damaged, another job's, or sealed with another key of the id {key!r}") from None

    def _cipher_for(self, head: bytes) -> AESGCM:
        key_id = head[1:-SALT_BYTES]
        key = self._keys.get(key_id)
        if key is None:
            shown = key_id.decode("ascii", "replace")
            raise Unsealable(f"it is sealed with the key {shown!r}, which is not among CAROM_ENCRYPTION_KEYS")
        if len(self._opened) >= _REMEMBERED:
            self._opened.clear()
        cipher = self._opened[head] = _cipher(key, head[-SALT_BYTES:])
        return cipher


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, _INFO).derive(key))


CLEAR = Vault()
"""Seals nothing. Opens what is not sealed."""
