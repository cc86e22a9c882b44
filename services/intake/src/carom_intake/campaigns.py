"""Bulk acts: one replica at a time goes through the jobs that fit, at a rate, and remembers how far it is.

Whoever takes over from a replica that died begins at the page that it was in; a job that was acted upon in the same
bulk act is not acted upon again (its record keeps the token of the last act), and mostly does not fit any more.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from typing import NamedTuple, TypeVar, cast

import msgspec

from carom_common.adapters.amqp.errors import BrokerError
from carom_common.adapters.store.acts import Act, Acted
from carom_common.adapters.store.campaigns import Campaign, Campaigns
from carom_common.adapters.store.queries import MAX_PAGE, Listed, Queries
from carom_common.contracts.sealing import Unsealable
from carom_common.domain.cursor import BadCursor
from carom_common.domain.filters import Filter
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_intake.acting import Actor
from carom_intake.audit import ENDED, Auditor, Who

RUN_SECONDS = 1.0
PREVIEW_SECONDS = 5.0
PREVIEW_JOBS = 10_000
SAMPLE = 10
_CHUNKS = 10
"""In how many parts a second's jobs are acted upon: after each it is looked whether to go on."""
_AWAY_SECONDS = 1.0

log = get_logger()
T = TypeVar("T")


class Preview(NamedTuple):
    """What a bulk act would do. `exact` is False where there are more than these jobs."""

    jobs: int
    exact: bool
    sample: list[Listed]


async def preview(queries: Queries, tenant: str, wanted: Filter) -> Preview:
    """Count the jobs that fit, up to 10,000 of them or for 5 s; raises StoreUnavailable."""
    ends = time.monotonic() + PREVIEW_SECONDS
    count, sample, cursor = 0, list[Listed](), None
    while True:
        page = await queries.page(tenant, wanted, cursor, MAX_PAGE)
        count += len(page.jobs)
        sample += page.jobs[: SAMPLE - len(sample)]
        cursor = page.next_cursor
        if cursor is None or count >= PREVIEW_JOBS or time.monotonic() > ends:
            return Preview(count, cursor is None, sample)


class Runner:
    """Does the bulk acts that are under way."""

    def __init__(self, campaigns: Campaigns, queries: Queries, actor: Actor, audit: Auditor) -> None:
        self._campaigns = campaigns
        self._queries = queries
        self._actor = actor
        self._audit = audit

    async def run(self) -> None:
        """Go on with all of them until none is left: a duty. Raises StoreUnavailable."""
        while active := await self._campaigns.active():
            if not self._actor.can_publish:
                await asyncio.sleep(_AWAY_SECONDS)
                continue
            await _all(map(self._second_of, active))

    async def _second_of(self, campaign: Campaign) -> None:
        """Act on the next jobs, at most as many as the rate allows in a second, and take that second."""
        try:
            page = await self._queries.page(campaign.tenant, campaign.filter, campaign.cursor, campaign.rate)
        except BadCursor:  # of another version
            page = await self._queries.page(campaign.tenant, campaign.filter, None, campaign.rate)
        began = time.monotonic()
        size = -(-campaign.rate // _CHUNKS)
        for first in range(0, len(page.jobs), size):
            if not (self._actor.can_publish and await self._campaigns.runs(campaign.id)):
                return
            chunk = page.jobs[first : first + size]
            done = sum(await _all(self._act(campaign, listed.job_id) for listed in chunk))
            self._campaigns.count(campaign.id, "done", done)
            self._campaigns.count(campaign.id, "skipped", len(chunk) - done)
            await asyncio.sleep(began + (first + len(chunk)) / campaign.rate - time.monotonic())
        if page.next_cursor is not None:
            await self._campaigns.reached(campaign.id, page.next_cursor)
        elif await self._campaigns.end(campaign.id, "done") == "done":
            log.info("campaign_ended", campaign_id=campaign.id, act=campaign.act, status="done")
            await self._tell_end(campaign)

    async def _tell_end(self, campaign: Campaign) -> None:
        ended = await self._campaigns.fetch(campaign.id) or campaign
        who = Who(campaign.tenant, campaign.by, campaign.address)
        self._audit.tell_of(who, ENDED[campaign.act], campaign.id, ended.done, detail="done")

    async def _act(self, campaign: Campaign, job_id: str) -> bool:
        """Whether it was done: a job may have gone on since it was found."""
        act: Act = "cancel"
        if campaign.act == "redrive":
            act = "redrive-execute" if campaign.kind == "execute" else "redrive-callback"
        try:
            acted = await self._actor.act(act, job_id, campaign.tenant, campaign.id)
        except BrokerError as error:
            log.warning("publish_failed", job_id=job_id, reason=str(error))
            return True  # it is recorded, and what it owes is published later
        except Unsealable as error:
            metrics.unsealable.inc()
            log.error("record_sealed", job_id=job_id, reason=str(error))
            return False
        return isinstance(acted, Acted)


async def _all(work: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """Everything side by side to its end; raises the first error then."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[T], results)


def narrowed(wanted: Filter, before: int) -> Filter:
    """The filter without jobs that come while it is acted upon; `before` in Unix milliseconds."""
    latest = before if wanted.created_before is None else min(before, wanted.created_before)
    return msgspec.structs.replace(wanted, created_before=latest)
