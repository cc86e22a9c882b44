"""What a listener is told from a place in the stream on: first from the store, then as it happens."""

import time
from collections.abc import AsyncGenerator, Callable

from carom_common.adapters.store.stream import PAGE, Streams
from carom_common.domain.happening import Happening, Order, Position
from carom_intake.hub import Subscription

HEARTBEAT_SECONDS = 15.0


class Following:
    """Everything of a subscription that comes after `position` and is `wanted`, in order and once.

    A listener that is too slow for the hub reads on from the store, page by page, until it has caught up.
    """

    def __init__(
        self,
        streams: Streams,
        subscription: Subscription,
        position: Position,
        wanted: Callable[[Happening], bool],
        *,
        until: float,
        resumed: bool,
    ) -> None:
        """`until` is an instant of time.monotonic(); `resumed`: what followed `position` is in the store."""
        self.position = position
        self._streams = streams
        self._subscription = subscription
        self._wanted = wanted
        self._until = until
        self._catching_up = resumed
        self._order: Order | None = None

    async def batches(self) -> AsyncGenerator[list[Happening], None]:
        """What happened, as much at once as there is. Empty: nothing for 15 s, or at the start nothing to catch up on.

        Ends when the time is over or the process wants to; raises StoreUnavailable where the store is needed.
        """
        quiet_at = 0.0 if self._catching_up else time.monotonic() + HEARTBEAT_SECONDS
        while not self._subscription.closed and (now := time.monotonic()) < self._until:
            if not self._catching_up:
                await self._subscription.wait(min(quiet_at, self._until) - now)
            fresh = await self._fresh()
            batch = [happening for happening in fresh if self._wanted(happening)]
            if batch or (not self._catching_up and time.monotonic() >= quiet_at):
                quiet_at = time.monotonic() + HEARTBEAT_SECONDS
                yield batch

    async def _fresh(self) -> list[Happening]:
        if self._subscription.behind:
            self._subscription.catch_up()
            self._catching_up = True
        if self._catching_up:
            return await self._page()
        told = self._subscription.take()
        fresh = [happening for happening in told if happening.position > self.position]
        self.position = max(self.position, self._subscription.position)
        return fresh

    async def _page(self) -> list[Happening]:
        tenant = self._subscription.tenant
        if self._order is None:
            self._order = Order()
            for happening in await self._streams.until(tenant, self.position):
                self._order.accepts(happening)
        page = await self._streams.after(tenant, self.position)
        fresh = [happening for happening in page if self._order.accepts(happening)]
        if page:
            self.position = page[-1].position
        if len(page) < PAGE:
            self._catching_up, self._order = False, None
        return fresh
