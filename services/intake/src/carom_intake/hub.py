"""One reader of the streams of state changes a process, and everybody who listens to it.

Reads only while somebody listens, all tenants in one read. Nothing polls: a listener sleeps until it is told.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator

from carom_common.adapters.store.stream import StoreUnavailable, Streams
from carom_common.domain.happening import Happening, Order, Position
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger

MAX_QUEUED = 2000
"""Happenings that wait for one listener. Who is slower reads on from the store, by its own pace."""
LINGER_SECONDS = 5.0
"""How long a tenant is read on after its last listener has left: the next one comes soon, often."""
COLLECT_SECONDS = 0.005
AGAIN_SECONDS = 0.5

log = get_logger()


class HubFull(Exception):
    """As many listen as may, or the process is about to end."""


class Subscription:
    """What one listener is told: a tenant's happenings, or those of one job."""

    def __init__(self, feed: "_Feed", tenant: str, job_id: str | None) -> None:
        self._feed = feed
        self.tenant = tenant
        self.job_id = job_id
        self.closed = False
        self.behind = False
        """Happenings were left out since the last `catch_up`: the listener must read them from the store."""
        self._queue: deque[Happening] = deque()
        self._told = asyncio.Event()

    @property
    def position(self) -> Position:
        """How far the tenant's stream was read."""
        return self._feed.position

    async def wait(self, seconds: float) -> None:
        """Until there is something to take, or `behind`, or `closed`; at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._told.wait()

    def take(self) -> list[Happening]:
        """Everything told since the last time."""
        taken = list(self._queue)
        self._queue.clear()
        if not self.closed and not self.behind:
            self._told.clear()
        return taken

    def catch_up(self) -> None:
        """From now on everything is told again; the listener reads what was before."""
        self._queue.clear()
        self.behind = False
        self._told.clear()

    def tell(self, happening: Happening) -> None:
        if self.behind:
            return
        if len(self._queue) >= MAX_QUEUED:
            self._queue.clear()
            self.behind = True
        else:
            self._queue.append(happening)
        self._told.set()

    def close(self) -> None:
        self.closed = True
        self._told.set()


class _Feed:
    """The listeners of one tenant, and how far its stream was read."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.left_at = time.monotonic()
        self._of_all: set[Subscription] = set()
        self._of_job: dict[str, set[Subscription]] = {}
        self._order = Order()

    @property
    def idle(self) -> bool:
        return not self._of_all and not self._of_job

    def add(self, subscription: Subscription) -> None:
        if subscription.job_id is None:
            self._of_all.add(subscription)
        else:
            self._of_job.setdefault(subscription.job_id, set()).add(subscription)

    def discard(self, subscription: Subscription) -> None:
        self.left_at = time.monotonic()
        if subscription.job_id is None:
            self._of_all.discard(subscription)
            return
        listeners = self._of_job[subscription.job_id]
        listeners.discard(subscription)
        if not listeners:
            del self._of_job[subscription.job_id]

    def tell(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            self.position = happening.position
            if self._order.accepts(happening):
                for subscription in (*self._of_all, *self._of_job.get(happening.job_id, ())):
                    subscription.tell(happening)

    def close(self) -> None:
        for subscription in (*self._of_all, *(one for listeners in self._of_job.values() for one in listeners)):
            subscription.close()


class Hub:
    """Subscribe first, then look at the state: nothing that happens after the look is missed."""

    def __init__(self, streams: Streams, limit: int) -> None:
        self._streams = streams
        self._limit = limit
        metrics.listeners_limit.set(limit)
        self._listeners = 0
        self._closed = False
        self._feeds: dict[str, _Feed] = {}
        self._reading: asyncio.Task[dict[str, list[Happening]]] | None = None
        self._wanted = asyncio.Event()
        self._away = ""

    @contextlib.asynccontextmanager
    async def subscribe(self, tenant: str, job_id: str | None = None) -> AsyncIterator[Subscription]:
        """Listen to a tenant, or to one job; raises HubFull, and StoreUnavailable."""
        if self._closed or self._listeners >= self._limit:
            raise HubFull
        self._listeners += 1
        metrics.listeners.set(self._listeners)
        try:
            feed = self._feeds.get(tenant) or await self._open(tenant)
            subscription = Subscription(feed, tenant, job_id)
            feed.add(subscription)
            try:
                if self._closed:
                    subscription.close()
                yield subscription
            finally:
                feed.discard(subscription)
        finally:
            self._listeners -= 1
            metrics.listeners.set(self._listeners)

    def close(self) -> None:
        """Let every listener end now, and take no more."""
        self._closed = True
        for feed in self._feeds.values():
            feed.close()

    async def run(self) -> None:
        """Read for as long as the process lives."""
        try:
            while True:
                self._forget_idle()
                if self._feeds:
                    await self._read_once()
                else:
                    self._wanted.clear()
                    await self._wanted.wait()
        finally:
            await self._streams.close()

    async def _open(self, tenant: str) -> _Feed:
        last = (await self._streams.span(tenant)).last
        if (feed := self._feeds.get(tenant)) is None:  # another listener may have been faster
            feed = self._feeds[tenant] = _Feed(last)
            self._wanted.set()
            if self._reading is not None:
                self._reading.cancel()  # it waits for the other tenants alone
        return feed

    def _forget_idle(self) -> None:
        long_ago = time.monotonic() - LINGER_SECONDS
        for tenant in [name for name, feed in self._feeds.items() if feed.idle and feed.left_at < long_ago]:
            del self._feeds[tenant]

    async def _read_once(self) -> None:
        try:
            if self._away:
                await self._find_places()
            positions = {tenant: feed.position for tenant, feed in self._feeds.items()}
            reading = self._reading = asyncio.create_task(self._streams.read(positions))
            try:
                await asyncio.wait((reading,))
            finally:
                self._reading = None
                reading.cancel()
            if reading.cancelled():
                return
            told = reading.result()
        except StoreUnavailable as error:
            if not self._away:
                log.warning("events_away", reason=str(error))
            self._away = str(error)
            await asyncio.sleep(AGAIN_SECONDS)
            return
        if self._away:
            log.info("events_back")
            self._away = ""
        for tenant, happenings in told.items():
            self._feeds[tenant].tell(happenings)
        if told:
            await asyncio.sleep(COLLECT_SECONDS)  # under load one read brings many

    async def _find_places(self) -> None:
        """The store may have come back with less than it had: what is ahead of its streams would wait for ever."""
        for tenant, feed in list(self._feeds.items()):
            feed.position = min(feed.position, (await self._streams.span(tenant)).last)
