"""The token buckets of callers, which all replicas draw from (scripts/rate.lua): `carom:{rate:<key id>}:tokens`."""

from typing import NamedTuple

from carom_common.adapters.store.batch import Batcher


class Lent(NamedTuple):
    """Tokens lent, those left in the bucket, and ms until there is one more."""

    lent: int
    left: int
    wait_ms: int


class RateStore:
    """Raises StoreUnavailable when Redis cannot be asked; asking again is safe."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._rate = batcher.register("rate")

    async def lend(self, key_id: str, rate: float, burst: int, least: int, most: int) -> Lent:
        """Borrow tokens of a bucket: `least` if it has them, up to `most` where it has plenty."""
        key = f"carom:{{rate:{key_id}}}:tokens"
        reply = await self._batcher.run("EVALSHA", self._rate, 1, key, rate, burst, least, most)
        return Lent(*map(int, reply))
