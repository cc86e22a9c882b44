"""Which process does a background duty: a lease in Redis for each, `carom:duty:<name>`."""

from carom_common.adapters.store.batch import Batcher

DUTY_LEASE_MS = 10_000


class DutyLease:
    """A lease of 10 s on one duty for one process. Methods raise StoreUnavailable; asking again is always safe."""

    def __init__(self, batcher: Batcher, name: str, token: str) -> None:
        self._batcher = batcher
        self._key = f"carom:duty:{name}"
        self._token = token
        self._script = batcher.register("duty")

    async def take(self) -> bool:
        """Take the lease, or keep it for 10 s more; False when another process has it."""
        return bool(await self._batcher.run("EVALSHA", self._script, 1, self._key, self._token, DUTY_LEASE_MS))

    async def give_up(self) -> None:
        """Let another process have it at once."""
        await self._batcher.run("EVALSHA", self._script, 1, self._key, self._token, 0)
