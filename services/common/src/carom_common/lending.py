"""Borrowing from the store what a destination allows all processes together: permits, tokens, and the one probe.

Permits are lent for 5 s and renewed each second, so that a busy destination costs a fraction of a round trip a call,
and a cold one costs one. Who waits for more is heard: whoever has more than a fair share gives it back after a second.
Each host has seconds of its own: all at once would be a stall that every call waits for.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Literal, TypeVar

from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.control import PERMIT_LEASE_MS, ControlStore
from carom_common.hosts import Host

AGAIN_SECONDS = 0.1
RENEW_SECONDS = 1.0
FEW = 8
"""An eighth of a limit is hardly more than a fair share: who has no more need not ask so often who waits."""
RENEW_FEW_SECONDS = 3.0
CLOSE_SECONDS = 2.0
LITTLE = 32
"""A part of a limit that nobody misses until it runs out: one call to each of very many hosts is told only once."""

W = TypeVar("W")


class Lender(Generic[W]):
    """`on_news` is called with a host for which something was asked."""

    def __init__(self, store: ControlStore, on_news: Callable[[Host[W]], None]) -> None:
        self._store = store
        self._on_news = on_news
        self._lent: set[Host[W]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def store(self) -> ControlStore:
        return self._store

    def ask(self, host: Host[W], what: Literal["concurrency", "rate", "circuit-open"]) -> None:
        """Ask for what hinders a host, unless that is under way or was refused a moment ago."""
        again = host.rate_again if what == "rate" else host.ask_again
        if host.asking or self._loop.time() < again:
            return
        host.asking = True
        ask = {"concurrency": self._borrow, "rate": self._take_tokens, "circuit-open": self._ask_to_probe}[what]
        self.spawn(self._asking(host, ask(host)))

    def renew(self, now: float) -> None:
        """Renew what is used, and give back what is not: at once where others may miss it, never where it is little."""
        for host in list(self._lent):
            idle = not host.running and not host.waiting
            limit = host.limits.concurrency
            if host.asking:
                continue
            if idle and 0 < host.granted * LITTLE <= limit and not host.others:
                if now >= host.granted_until - RENEW_SECONDS:  # or a call begins with a permit that ends in its middle
                    host.granted = host.peak = 0
                    self._lent.discard(host)
                continue
            if idle and host.granted * 2 >= limit:
                host.peak = 0
            elif now - host.renewed_at < _interval(host):
                continue
            elif host.others:
                host.peak = 0
                host.yielding = host.granted > host.share and now - host.lent_at >= RENEW_SECONDS
            host.renewed_at = now
            self.give_back(host)

    def give_back(self, host: Host[W]) -> None:
        """Tell the store how many are used or wanted."""
        if not host.asking:
            host.asking = True
            self.spawn(self._asking(host, self._renew(host)))

    def spawn(self, step: Coroutine[Any, Any, None]) -> None:
        """Run a step that may find the store away: it is then asked again by the clock."""
        task = asyncio.create_task(_guarded(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give all back, so that others need not wait until it runs out."""
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        steps = (self._store.permits(host.name, host.running, 0, 1, waits=False) for host in self._lent)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*steps, return_exceptions=True)

    async def _asking(self, host: Host[W], step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        finally:
            host.asking = False
        self._on_news(host)

    async def _borrow(self, host: Host[W]) -> None:
        now, limit = self._loop.time(), host.limits.concurrency
        host.ask_again = now + AGAIN_SECONDS
        wanted = max(host.running, host.wanted())
        if host.yielding:
            wanted = max(host.running, min(wanted, host.share))
        host.granted = min(host.granted, wanted)  # what goes back must not be used meanwhile
        used = host.running
        got, others = await self._store.permits(host.name, used, wanted, limit, waits=bool(host.waiting))
        if got and not host.granted:
            host.lent_at, host.renewed_at = now, now - random.random() * RENEW_SECONDS
        host.granted, host.others = got, others
        host.granted_until = now + PERMIT_LEASE_MS / 1000
        out = max(got, used)
        (self._lent.add if out else self._lent.discard)(host)
        if host.running < used and got < used:
            host.renewed_at = 0.0  # what ended meanwhile is counted still, and others may wait for it
        host.refused = got < wanted or got >= limit
        if wanted <= got < limit:
            host.ask_again = 0.0

    async def _renew(self, host: Host[W]) -> None:
        try:
            await self._borrow(host)
        except StoreUnavailable:
            host.renewed_at += RENEW_SECONDS - _interval(host)  # before what was lent runs out
            raise
        host.peak = host.running
        if host.granted <= host.share:
            host.yielding = False
            host.lent_at = self._loop.time()

    async def _take_tokens(self, host: Host[W]) -> None:
        limits, now = host.limits, self._loop.time()
        count = max(1, min(len(host.waiting), host.allowed(now) - host.running))
        host.tokens, wait_ms = await self._store.tokens(host.name, limits.rate, limits.burst, count)
        host.tokens_at = self._loop.time()
        if host.tokens < count:
            host.rate_again = host.tokens_at + wait_ms / 1000
            if wait_ms < AGAIN_SECONDS * 1000:  # sooner than the clock's next tick
                self._loop.call_at(host.rate_again + 0.0005, self._on_news, host)

    async def _ask_to_probe(self, host: Host[W]) -> None:
        host.probe_ready = await self._store.probe(host.name, host.limits.open_seconds)
        if not host.probe_ready:
            host.circuit.look_again(self._loop.time() + 1)


def _interval(host: Host[W]) -> float:
    """Seconds between two renewals."""
    return RENEW_FEW_SECONDS if host.running and host.granted * FEW <= host.limits.concurrency else RENEW_SECONDS


async def _guarded(step: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(StoreUnavailable):  # nothing begins without the store anyway
        await step
