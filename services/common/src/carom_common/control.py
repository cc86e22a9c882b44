"""What operators and other processes say, looked up once a second: pauses, rules, circuits, hosts that answer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.control import ControlStore, Found
from carom_common.domain.pauses import Pauses
from carom_common.domain.rules import RuleBook
from carom_common.telemetry.logging import get_logger

LOOK_SECONDS = 1.0
LOOK_TIMEOUT_SECONDS = 5.0
MAX_TOLD = 500

log = get_logger()


async def _nothing_to_tell(question: str) -> None:
    """What a process does that consumes nothing."""


class Control:
    """The last known state; while the store is away that is what it was."""

    def __init__(self, store: ControlStore, rules: RuleBook) -> None:
        self.store = store
        self.rules = rules
        self.pauses = Pauses()
        self._all_paused = False
        """Every tenant that has jobs is paused as a whole."""
        self.on_opened: Callable[[str, int], None] = lambda host, ago_ms: None
        self.on_closed: Callable[[str, int], None] = lambda host, ago_ms: None
        self.on_proven: Callable[[str, int], None] = lambda host, ago_ms: None
        self.on_all_paused: Callable[[bool], None] = lambda paused: None
        self.on_change: Callable[[], None] = lambda: None
        self.on_asked: Callable[[str], Awaitable[None]] = _nothing_to_tell
        """Asked by a check what is in hand here; again until it could be told."""
        self._answered = ""
        self._version = "none"
        self._last = 0
        self._to_tell: set[str] = set()

    def tell_proven(self, host: str) -> None:
        """Let the others know, with the next look, that this host answers."""
        if len(self._to_tell) < MAX_TOLD:
            self._to_tell.add(host)

    def untell_proven(self, host: str) -> None:
        """It answers no more: an answer from before must not be news to the others."""
        self._to_tell.discard(host)

    async def run(self) -> None:
        """Look once a second; until cancelled."""
        while True:
            # runtime.watch says that it is away; what is known stays in force.
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                    await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask once; raises StoreUnavailable."""
        told = tuple(self._to_tell)
        found = await self.store.look(self._version, self._last, told)
        self._to_tell.difference_update(told)
        self._last = found.now
        if found.pauses is not None and found.rules is not None:
            self.pauses, self.rules.set = Pauses(found.pauses), found.rules
            self._version = found.version
            self.on_change()
            log.info("control_changed", pauses=len(found.pauses), rules=len(found.rules))
        self._pass_on(found)
        whole = self.pauses.tenants
        all_paused = bool(whole) and whole.issuperset(await self.store.tenants.known())
        if all_paused != self._all_paused:
            self._all_paused = all_paused
            self.on_all_paused(all_paused)
        if found.asked and found.asked != self._answered:
            await self.on_asked(found.asked)
            self._answered = found.asked

    def _pass_on(self, found: Found) -> None:
        for host, ago in found.proven:
            self.on_proven(host, ago)
        closed = dict(found.closed)
        for host, ago in found.opened:
            if ago < closed.get(host, ago + 1):
                self.on_opened(host, ago)
        for host, ago in found.closed:
            self.on_closed(host, ago)
