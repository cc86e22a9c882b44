"""How many requests a key may make: a token bucket a key, from which all replicas borrow.

Tokens are borrowed for up to a tenth of a second's requests at a time, so that a busy caller costs a fraction of a
round trip a request, and one near its limit costs one. Those that are not used within a second lapse. While the store
is away each replica counts by itself: a caller gets at most its rate from each, and none is turned away for the outage.
"""

import asyncio
import math
import time
from collections import OrderedDict
from typing import NamedTuple

from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.rates import RateStore
from carom_intake.domain.keys import KeyRate

MAX_BUCKETS = 20_000
ASK_SECONDS = 0.25
"""How long a request waits for the store to say whether it may go on."""
ALONE_SECONDS = 1.0
LAPSE_SECONDS = 1.0
_AHEAD_SECONDS = 0.1


class Standing(NamedTuple):
    """How a caller stands: `wait` in seconds until the next request, 0 where this one may go on."""

    rate: float
    burst: int
    left: int
    wait: float

    @property
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), as ASGI has headers.

        Of a token bucket the window is the time in which it fills, and the reset the time until it is full.
        """
        window = math.ceil(self.burst / self.rate)
        reset = math.ceil((self.burst - self.left) / self.rate)
        return (
            (b"ratelimit-policy", b'"key";q=%d;w=%d' % (self.burst, window)),
            (b"ratelimit", b'"key";r=%d;t=%d' % (self.left, reset)),
        )


class Bucket:
    """One key's tokens as this replica has them. Times by `time.monotonic`."""

    def __init__(self, key_id: str, rate: float, burst: int, store: RateStore) -> None:
        self.rate, self.burst = rate, burst
        self._key_id = key_id
        self._store = store
        self._tokens = self._waiting = 0
        self._left = burst
        self._lapse = self._again = self._alone_until = self._alone_at = 0.0
        self._alone = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def take(self) -> Standing:
        """Take a token, or say when there is one."""
        while True:
            now = time.monotonic()
            if now >= self._lapse and self._tokens and now >= self._alone_until:
                self._tokens = 0  # the bucket filled up meanwhile without them
            if self._tokens:
                self._tokens -= 1
                return self._standing(0.0)
            if now < self._alone_until:
                if self._refill_alone(now):
                    continue
                return self._standing((1 - self._alone) / self.rate)
            if now < self._again:
                return self._standing(self._again - now)
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            self._waiting += 1
            try:
                await asyncio.shield(self._asking)
            finally:
                self._waiting -= 1

    def _standing(self, wait: float) -> Standing:
        return Standing(self.rate, self.burst, min(self.burst, self._left + self._tokens), wait)

    async def _ask(self) -> None:
        await asyncio.sleep(0)  # whoever else comes in this turn of the loop is asked for too
        most = max(1, int(self.rate * _AHEAD_SECONDS))
        try:
            async with asyncio.timeout(ASK_SECONDS):
                lent = await self._store.lend(self._key_id, self.rate, self.burst, max(1, self._waiting), most)
        except (StoreUnavailable, TimeoutError):
            now = time.monotonic()
            if not self._alone_until:
                self._alone, self._alone_at = float(max(1, self._left)), now
            self._alone_until = now + ALONE_SECONDS
        else:
            now = time.monotonic()
            self._alone_until = 0.0
            self._tokens, self._left = lent.lent, lent.left
            self._lapse = now + LAPSE_SECONDS
            self._again = now if lent.lent else now + lent.wait_ms / 1000
        finally:
            self._asking = None

    def _refill_alone(self, now: float) -> bool:
        """Let this replica's own bucket fill, and move a token out of it."""
        self._alone = min(self.burst, self._alone + (now - self._alone_at) * self.rate)
        self._alone_at, self._left = now, max(0, int(self._alone) - 1)
        if self._alone < 1:
            return False
        self._alone -= 1
        self._tokens = 1
        return True


class Rates:
    """The buckets of all keys; `default` is for keys that have no rate of their own, None for no limit."""

    def __init__(self, store: RateStore, default: KeyRate | None) -> None:
        self._store = store
        self._default = default
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, key_id: str, own: KeyRate | None) -> Bucket | None:
        """The bucket of a key, None where it has no limit."""
        limit = own or self._default
        if limit is None:
            return None
        burst = limit.burst or max(1, math.ceil(limit.per_second))
        bucket = self._buckets.get(key_id)
        if bucket is None or (bucket.rate, bucket.burst) != (limit.per_second, burst):
            bucket = self._buckets[key_id] = Bucket(key_id, limit.per_second, burst, self._store)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key_id)
        return bucket
