"""Which job an Idempotency-Key stands for: `carom:{idem:<tenant>:<sha256 of the key>}`, apart from the job's record."""

import hashlib
import os
import zlib
from typing import Any, Literal, NamedTuple

from carom_common.adapters.store.batch import Batcher

HOLD_MS = 30_000
"""How long a request has its key for itself. Whoever comes later finds its process gone, and goes on in its place."""


class Claimed(NamedTuple):
    """What the claim of a key found.

    mine: go on, with `job_id` and as if it were `created` (Unix milliseconds): that of the first who claimed the key.
    answered: `answer` again. busy: another request has it, for at most `left_ms`. other: used with another body.
    """

    verdict: Literal["mine", "answered", "busy", "other"]
    job_id: str = ""
    created: int = 0
    answer: bytes = b""
    left_ms: int = 0


class IdempotencyKey:
    """One key of one tenant in one request. Methods raise StoreUnavailable; asking again is always safe.

    A claim raises Unsealable for an answer that cannot be opened.
    """

    def __init__(self, batcher: Batcher, scripts: tuple[str, str], name: str, body: str, keep_ms: int) -> None:
        self._batcher = batcher
        self._claim, self._end = scripts
        self._name = name
        self._body = body
        self._keep_ms = keep_ms
        self._token = os.urandom(12).hex()

    async def first_seen(self) -> int:
        """When this very request was first claimed, in Unix milliseconds; 0 when it never was."""
        body, created = await self._batcher.run("HMGET", self._name, "body", "created")
        return int(created) if body is not None and body.decode() == self._body else 0

    async def claim(self, job_id: str, now: int) -> Claimed:
        """Take the key for 30 s, for a job of this id unless it stands for one already."""
        reply = await self._run(self._claim, job_id, self._body, now, self._token, HOLD_MS, self._keep_ms)
        match reply[0]:
            case b"claimed":
                return Claimed("mine", reply[1].decode(), int(reply[2]))
            case b"answered":
                return Claimed("answered", reply[1].decode(), answer=self._opened(reply[1].decode(), reply[2]))
            case b"busy":
                return Claimed("busy", left_ms=int(reply[1]))
            case _:
                return Claimed("other")

    async def keep(self, claimed: Claimed, answer: bytes) -> None:
        """Answer everyone who asks the same from now on, for the retention time."""
        packed = self._batcher.vault.seal(claimed.job_id, zlib.compress(answer, 1))
        fields = (claimed.job_id, self._body, claimed.created, self._token)
        await self._run(self._end, *fields, packed, self._keep_ms)

    def _opened(self, job_id: str, packed: bytes) -> bytes:
        return zlib.decompress(self._batcher.vault.open(job_id, packed))

    def release(self, claimed: Claimed) -> None:
        """Let the next who asks the same go on with the same job at once. Sent, not awaited: the hold ends anyway."""
        args = (claimed.job_id, self._body, claimed.created, self._token, b"", self._keep_ms)
        self._batcher.post(("EVALSHA", self._end, 1, self._name, *args))

    def _run(self, sha: str, *args: Any) -> Any:
        return self._batcher.run("EVALSHA", sha, 1, self._name, *args)


class IdempotencyKeys:
    """The keys of all tenants."""

    def __init__(self, batcher: Batcher, retention_seconds: int) -> None:
        self._batcher = batcher
        self._scripts = (batcher.register("idempotency_claim"), batcher.register("idempotency_end"))
        self._keep_ms = retention_seconds * 1000

    def key(self, tenant: str, key: str, body: str) -> IdempotencyKey:
        """A key as one request uses it; `body` is the digest of what it asks."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        return IdempotencyKey(
            self._batcher, self._scripts, f"carom:{{idem:{tenant}:{digest}}}", body, max(self._keep_ms, 2 * HOLD_MS)
        )
