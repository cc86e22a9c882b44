"""Lists of jobs: walks the most selective index, newest first, and looks at the records, which are the truth."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.index import index_key
from carom_common.adapters.store.records import log_key, state_key
from carom_common.contracts.sealing import Unsealable
from carom_common.domain.cursor import Position, decode_cursor, encode_cursor
from carom_common.domain.filters import (
    STATE_FIELDS,
    Filter,
    JobHead,
    asks_for_job,
    decode_head,
    job_fits,
    state_fits,
    walks,
)

MIN_READ, READ_A_JOB, MAX_READ = 1000, 10, 5000
"""Entries that a page may look at: so many for each job that it may have, within bounds. A filter that fits few of them
gets a short page, soon, and goes on."""
MAX_PAGE = 1000

_STRETCH = 200
"""Entries read at once."""
_JOBS_BYTES = 1 << 20
_FIRST_JOBS = 32
"""Jobs may have payloads: so many are read at first, then as many as make about 1 MiB."""


SEALED_HEAD = JobHead("[sealed with a key that is not known here]")
"""In place of what cannot be opened, so that one such job does not hide all others."""


class Listed(NamedTuple):
    """One job of a list: the fields `STATE_FIELDS` of its state as far as it has them, and its head."""

    job_id: str
    state: dict[str, str]
    job: JobHead


class Page(NamedTuple):
    """Jobs, newest first, and where the list goes on: None at its end. A page may be short, even empty, before that."""

    jobs: list[Listed]
    next_cursor: str | None


class _Stretch(NamedTuple):
    entries: list[Position]
    at_end: bool


class Queries:
    """Every method raises StoreUnavailable when Redis cannot be asked."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._page = batcher.register("page")

    async def page(self, tenant: str, wanted: Filter, cursor: str | None, limit: int) -> Page:
        """At most `limit` jobs of a tenant, from the cursor of the page before on; raises BadCursor.

        Jobs that fit all the while are told once, whatever is added and ends meanwhile.
        """
        fingerprint = wanted.fingerprint(tenant)
        at = decode_cursor(cursor, fingerprint) if cursor is not None else None
        names = await self._best_walk(tenant, wanted, at)
        found: list[Listed] = []
        read, most = 0, min(max(MIN_READ, READ_A_JOB * limit), MAX_READ)
        while True:
            room = limit - len(found)
            # One entry more than there is room for: it tells whether the list goes on.
            count = min(_STRETCH, most - read, room + 1 if wanted.empty else _STRETCH)
            stretch = await self._stretch(tenant, names, wanted, at, count)
            read += len(stretch.entries)
            fitting = await self._fitting(tenant, wanted, stretch.entries, room)
            found += fitting[:room]
            if len(fitting) > room or (len(found) == limit and not stretch.at_end):
                last = next(entry for entry in stretch.entries if entry.job_id == found[-1].job_id)
                return Page(found, encode_cursor(last, fingerprint))
            if stretch.at_end:
                return Page(found, None)
            at = stretch.entries[-1]
            if read >= most:
                return Page(found, encode_cursor(at, fingerprint))

    async def walk(self, tenant: str, wanted: Filter, batch: int = 500) -> AsyncIterator[Listed]:
        """All jobs that fit, page after page."""
        cursor: str | None = None
        while True:
            page = await self.page(tenant, wanted, cursor, batch)
            for listed in page.jobs:
                yield listed
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _best_walk(self, tenant: str, wanted: Filter, at: Position | None) -> tuple[str, ...]:
        """The indexes with the fewest entries that are still to be read."""
        newest = f"{at.created}" if at is not None else _newest(wanted)
        oldest = wanted.created_after if wanted.created_after is not None else "-inf"
        ways = walks(wanted)
        if len(ways) == 1:
            return ways[0].names
        names = [name for way in ways for name in way.names]
        counts = dict(
            zip(
                names,
                await asyncio.gather(
                    *(self._batcher.run("ZCOUNT", index_key(tenant, name), oldest, newest) for name in names)
                ),
                strict=True,
            )
        )
        return min(ways, key=lambda way: sum(int(counts[name]) for name in way.names)).names

    async def _stretch(
        self, tenant: str, names: Sequence[str], wanted: Filter, at: Position | None, count: int
    ) -> _Stretch:
        """The next entries of some indexes, merged; `at_end` when there are no more."""
        start = (at.created, at.job_id) if at is not None else (_newest(wanted), "")
        replies = await asyncio.gather(
            *(self._batcher.run("EVALSHA", self._page, 1, index_key(tenant, name), *start, count) for name in names)
        )
        # As many from each as are taken in all: no index can hold back one that belongs among them.
        entries = sorted({entry for reply in replies for entry in _positions(reply)}, reverse=True)
        at_end = len(entries) <= count and all(len(reply) < 2 * count for reply in replies)
        entries = entries[:count]
        if wanted.created_after is not None and entries and entries[-1].created < wanted.created_after:
            return _Stretch([entry for entry in entries if entry.created >= wanted.created_after], True)
        return _Stretch(entries, at_end)

    async def _fitting(self, tenant: str, wanted: Filter, entries: list[Position], room: int) -> list[Listed]:
        """Those entries whose records fit, in order: all of them, or the first `room` + 1."""
        states = await self._batcher.run_all(("HMGET", state_key(entry.job_id), *STATE_FIELDS) for entry in entries)
        likely = [
            (entry.job_id, state)
            for entry, values in zip(entries, states, strict=True)
            if (state := _state(values)) and state.get("tenant") == tenant and state_fits(wanted, state)
        ]
        found: list[Listed] = []
        size = _FIRST_JOBS
        while likely and len(found) <= room:
            if not asks_for_job(wanted):
                size = min(size, room + 1 - len(found))
            some, likely = likely[:size], likely[size:]
            jobs = await self._batcher.run_all(("LINDEX", log_key(job_id), 0) for job_id, _ in some)
            for (job_id, state), job in zip(some, jobs, strict=True):
                if job is not None and job_fits(wanted, head := self._head(job_id, job)):
                    found.append(Listed(job_id, state, head))
            mean = max(1, sum(len(job) for job in jobs if job is not None) // len(some))
            size = max(1, min(_STRETCH, _JOBS_BYTES // mean))
        return found

    def _head(self, job_id: str, job: bytes) -> JobHead:
        try:
            return decode_head(self._batcher.vault.open(job_id, job))
        except Unsealable:
            return SEALED_HEAD


def _newest(wanted: Filter) -> str:
    return f"{wanted.created_before - 1}" if wanted.created_before is not None else "+inf"


def _positions(reply: list[Any]) -> list[Position]:
    return [Position(int(float(score)), member.decode()) for member, score in zip(reply[::2], reply[1::2], strict=True)]


def _state(values: list[bytes | None]) -> dict[str, str]:
    """The fields that a record has; nothing where there is no record."""
    if values[0] is None:
        return {}
    pairs = zip(STATE_FIELDS, values, strict=True)
    return {name: value.decode("utf-8", "replace") for name, value in pairs if value is not None}
