"""Every record that there is, for who checks them all: by the indexes, or by the keys of the store.

All in small batches, so that no other caller of Redis waits for long, and little of it is in memory.
"""

from collections.abc import AsyncIterator, Sequence

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.index import enters, index_key, lasting
from carom_common.adapters.store.records import fetch_record, state_key
from carom_common.adapters.store.replies import pairs
from carom_common.adapters.store.store import MARK_KEY
from carom_common.adapters.store.tenants import Tenants
from carom_common.contracts.job import decode_job

BATCH = 200
_SCAN_COUNT = 1000
_STATES = state_key("????????-????-????-????-????????????")
_PREFIX, _SUFFIX = len("carom:{"), len("}:state")
READ_KEY = "carom:{control}:dead-read"


class Survey:
    """Every method raises StoreUnavailable when Redis cannot be asked."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._tenants = Tenants(batcher)

    async def indexed(self, name: str) -> AsyncIterator[list[str]]:
        """The jobs of an index, of all tenants, the oldest first."""
        for tenant in await self._tenants.known():
            async for jobs in self._walk(index_key(tenant, name)):
                yield jobs

    async def _walk(self, key: str) -> AsyncIterator[list[str]]:
        # By score, not by rank: entries that leave in front must not make others be left out.
        score, seen = "-inf", 0
        while True:
            found = pairs(
                await self._batcher.run("ZRANGEBYSCORE", key, score, "+inf", "WITHSCORES", "LIMIT", seen, BATCH)
            )
            if found:
                yield [member.decode() for member, _ in found]
            if len(found) < BATCH:
                return
            last = found[-1][1]
            same = sum(1 for _, at in found if at == last)
            seen = seen + same if f"{int(float(last))}" == score else same
            score = f"{int(float(last))}"

    async def kept(self) -> AsyncIterator[list[str]]:
        """The jobs of all records, known to an index or not, some of them twice."""
        cursor = b"0"
        while True:
            cursor, keys = await self._batcher.run("SCAN", cursor, "MATCH", _STATES, "COUNT", _SCAN_COUNT)
            if keys:
                yield [key.decode()[_PREFIX:-_SUFFIX] for key in keys]
            if cursor == b"0":
                return

    async def fields(self, jobs: Sequence[str], names: Sequence[str]) -> list[dict[str, str]]:
        """These fields of the jobs' states; nothing of those that are gone."""
        replies = await self._batcher.run_all([("HMGET", state_key(job_id), *names) for job_id in jobs])
        return [
            {
                name: value.decode("utf-8", "replace")
                for name, value in zip(names, reply, strict=True)
                if value is not None
            }
            for reply in replies
        ]

    async def missing(self, tenant: str, job_id: str, names: Sequence[str]) -> list[str]:
        """Those of the indexes that do not have the job."""
        replies = await self._batcher.run_all([("ZSCORE", index_key(tenant, name), job_id) for name in names])
        return [name for name, reply in zip(names, replies, strict=True) if reply is None]

    async def enter(self, tenant: str, job_id: str, created: int, names: Sequence[str]) -> None:
        """Put a job into indexes; into those by host and label too where no index had it. Raises Unsealable."""
        stored = await fetch_record(self._batcher, job_id)
        if stored is None:
            return
        more = lasting(decode_job(stored.job)) if "all" in names else ()
        first, *rest = enters(tenant, job_id, created, *dict.fromkeys((*names, *more)))
        await self._batcher.run(*first, also=tuple(rest))
        self._tenants.note(tenant)

    # Which dead letters were looked at since the store was empty last

    async def letters_read(self) -> str:
        """How the dead queues were read for this very content of the store: empty, `seen <count>` or `mended`."""
        mark, note = await self._batcher.run_all((("GET", MARK_KEY), ("GET", READ_KEY)))
        found, _, how = (note or b"").partition(b"/")
        return str(how.decode()) if mark and found == mark.hex().encode() else ""

    async def note_letters_read(self, how: str) -> None:
        mark = await self._batcher.run("GET", MARK_KEY)
        if mark:
            await self._batcher.run("SET", READ_KEY, f"{mark.hex()}/{how}")
