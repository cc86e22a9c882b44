"""What may begin now, and what must wait: for a pause, a limit, a rate, an open circuit, or a host to prove itself.

For a destination with permits in hand an answer is a few look-ups. What must wait does so here for at most a second,
without a slot; after that it is held: put back into a delay bucket, so that it takes no room either.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Generic, TypeVar

from carom_common.control import Control
from carom_common.domain.bulkhead import Bulkhead, Standing
from carom_common.domain.clock import now_ms
from carom_common.domain.destinations import destination_of
from carom_common.domain.filters import WaitReason
from carom_common.domain.pacing import LONGEST_SECONDS, LONGEST_UNPROVEN_SECONDS, Pace
from carom_common.hosts import Host
from carom_common.lending import Lender
from carom_common.passes import Gated, Hold, Pass, Place
from carom_common.registry import Registry
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger

WAIT_SECONDS = 1.0
SLOW_STORE_SECONDS = 10.0
TICK_SECONDS = 0.1
MIN_PUT_BACK, PUT_BACK_LESS = 8, 8
"""How many of too many are held in a tick: so many at least, and so many fewer for each call that ended."""
QUICK_STEP_SECONDS, SOON_SECONDS = 0.02, 3.0
"""Of a host that is rid of a call each 20 ms what begins within 3 s stays."""
QUICK_PUT_BACK, ENDED_A_PUT_BACK = 2, 8
"""How many of the rest are held in a tick: so many, and one more for each 8 calls that ended."""
TIMER_SECONDS = 0.001
"""uvloop's timers may be so early."""
TOKENS_KEPT_SECONDS = 1.0
TELL_SECONDS = 60.0

W = TypeVar("W", bound=Gated)

log = get_logger()


class Gate(Generic[W]):
    """One for a consuming process with `slots` slots. `limited`: concurrency, rate and pauses count, not only circuits.

    `on_ready` takes a delivery that waited and has its pass now, `on_hold` one that is to be put back.
    """

    def __init__(self, control: Control, slots: int, place: Callable[[W], Place], *, limited: bool) -> None:
        self._control = control
        self._place = place
        self._limited = limited
        self._bulkhead = Bulkhead(slots)
        self._room = slots
        self._room_unproven = max(1, slots // 4)
        self._busy: dict[Host[W], None] = {}
        """Hosts for which something waits here."""
        self._for_room: tuple[dict[Host[W], None], ...] = ({}, {}, {})
        """Hosts that wait for the bulkhead, by standing; the first is next."""
        self._waiting = 0
        self._paces = [Pace(LONGEST_UNPROVEN_SECONDS) for _ in Standing]
        self._wakes_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._registry: Registry[W] = Registry(control, self._pump)
        self._lender: Lender[W] = Lender(control.store, self._pump)
        self.on_ready: Callable[[W], None] = lambda work: None
        self.on_hold: Callable[[W, Hold], None] = lambda work, hold: None
        metrics.gate_waiting.set_function(lambda: self._waiting)
        metrics.circuit_open.set_function(self._registry.open_circuits)
        metrics.destinations.set_function(lambda: len(self._registry))

    def admit(self, work: W) -> Hold | bool:
        """True: it has its pass and begins now. False: it waits here. Returns at once."""
        tenant, url, labels, expires = self._place(work)
        if expires and expires <= now_ms():
            return True  # it ends without a call
        name = destination_of(url)
        if self._limited and self._control.pauses and self._control.pauses.hold(tenant, name, labels):
            return Hold("paused", None)
        now = self._loop.time()
        host = self._registry.of(name)
        host.used_at = now
        reason = self._hindrance(host, now)
        if reason is None and not host.waiting:
            self._take(host, work, now)
            return True
        if reason == "circuit-open" and host.circuit.rest(now) > WAIT_SECONDS:
            return self._hold(host, reason, now)
        if reason == "unproven-host" and sum(map(len, self._for_room)) >= self._room_unproven:
            return self._hold(host, reason, now)
        host.waiting.append((now, work))
        self._waiting += 1
        self._busy[host] = None
        self._pump(host)
        return False

    def waiting_here(self) -> list[W]:
        """What neither has its pass nor was put back yet."""
        return [work for host in self._busy for _, work in host.waiting]

    def active_hosts(self) -> list[Host[W]]:
        """Destinations that are called or waited for here, or whose circuit is not closed."""
        return self._registry.active()

    def may_overdraw(self, work: W) -> bool:
        """Whether a delivery with its pass begins although no slot is free."""
        given = work.gate_pass
        return given is not None and given.standing is Standing.PROVEN and self._bulkhead.overdraws

    def opens_reserve(self) -> bool:
        """Whether to look for deliveries to proven hosts although no slot is free."""
        return self._bulkhead.opens_reserve(self._loop.time())

    def done(self, work: W, answered: bool | None) -> None:
        """A delivery is through; `answered`: somebody did, nobody was there, or None when no call was made."""
        given = work.gate_pass
        if given is None:
            return
        work.gate_pass = None
        host, now = given.host, self._loop.time()
        too_many = self._limited and host.running > host.granted  # its limit was lowered; others may wait for this one
        host.running -= 1
        host.ended += 1
        host.ended_at = now
        self._bulkhead.leave(given.standing, now, None if answered is None else now - given.began)
        self._judge(host, given, answered, now)
        if host.yielding or too_many:
            self._lender.give_back(host)
        elif host.waiting:
            self._pump(host)
        if given.standing is not Standing.PROVEN:
            self._pump_room()

    def _judge(self, host: Host[W], given: Pass, answered: bool | None, now: float) -> None:
        circuit, store = host.circuit, self._lender.store
        if answered is None:
            if given.probe:
                circuit.probing = False
                self._lender.spawn(store.give_back_probe(host.name))
            return
        host.lasted(now - given.began)
        if answered:
            host.proven_at = now
            if now - host.told_at > TELL_SECONDS:
                host.told_at = now
                self._control.tell_proven(host.name)
            if circuit.answered():
                log.info("circuit_closed", host=host.name)
                self._lender.spawn(store.close(host.name))
        elif circuit.failed(host.limits.failures, host.limits.open_seconds, now):
            host.tripped_at = now
            self._control.untell_proven(host.name)
            log.warning("circuit_opened", host=host.name, seconds=host.limits.open_seconds)
            self._lender.spawn(store.open(host.name))

    # Whether a host may be called

    def _hindrance(self, host: Host[W], now: float) -> WaitReason | None:
        if host.circuit.state(now) != "closed" and not host.probe_ready:
            return "circuit-open"
        if not self._bulkhead.has_room(host.standing(now), now):
            return "unproven-host"
        if not self._limited:
            return None
        if host.running >= host.allowed(now):
            return "concurrency"
        if host.limits.rate and (host.tokens < 1 or now - host.tokens_at > TOKENS_KEPT_SECONDS):
            return "rate"
        return None

    def _take(self, host: Host[W], work: W, now: float) -> None:
        standing, probe = host.standing(now), host.probe_ready
        if probe:
            host.probe_ready, host.circuit.probing = False, True
        host.running += 1
        host.peak = max(host.peak, host.running)
        if host.limits.rate:
            host.tokens -= 1
        self._bulkhead.enter(standing, now)
        work.gate_pass = Pass(host, standing, now, probe)

    def _hold(self, host: Host[W], reason: WaitReason, now: float) -> Hold:
        delay: float | None = None
        longest = LONGEST_SECONDS
        if reason == "circuit-open":
            delay = min(max(1.0, host.circuit.rest(now)) * random.uniform(1, 1.1), LONGEST_SECONDS)
        elif reason == "unproven-host":
            longest = LONGEST_UNPROVEN_SECONDS
            standing = host.standing(now)
            delay = max(1.0, self._paces[standing].turn(now, self._bulkhead.step(standing), 0))
        elif (step := host.step()) is not None:
            delay = host.pace.turn(now, step, len(host.waiting))
        if delay is not None and delay >= longest:
            delay *= random.uniform(0.2, 1)  # or all that came together comes back together
        return Hold(reason, None if delay is None else int(delay * 1000))

    # What waits

    def _pump(self, host: Host[W]) -> None:
        """Begin what may begin of a host, and see that what hinders the rest ends."""
        now = self._loop.time()
        while host.waiting:
            work = host.waiting[0][1]
            alive = work.alive  # a dead one is in its queue again
            if alive:
                reason = self._hindrance(host, now)
                if reason is not None:
                    self._get_on(host, reason, now)
                    return
                self._take(host, work, now)
            host.waiting.popleft()
            self._waiting -= 1
            if alive:
                self.on_ready(work)
        self._forget_waiting(host)

    def _get_on(self, host: Host[W], reason: WaitReason, now: float) -> None:
        if reason == "unproven-host":
            self._for_room[host.standing(now)][host] = None
            self._wake_for_room(now)
        elif reason == "concurrency" or reason == "rate":
            self._lender.ask(host, reason)
        elif host.circuit.state(now) == "half-open" and not host.circuit.probing:
            self._lender.ask(host, "circuit-open")

    def _forget_waiting(self, host: Host[W]) -> None:
        self._busy.pop(host, None)
        for queue in self._for_room:
            queue.pop(host, None)

    def _pump_room(self) -> None:
        """Slots for hosts that are not proven, in turns; those nobody tried before those that failed."""
        now = self._loop.time()
        for standing in Standing:
            queue = self._for_room[standing]
            for _ in range(len(queue)):
                if not self._bulkhead.has_room(standing, now):
                    break
                host = next(iter(queue))
                del queue[host]
                self._pump(host)
        if any(self._for_room):
            self._wake_for_room(now)

    def _wake_for_room(self, now: float) -> None:
        """See that the next call to a host that is not proven begins when it may."""
        if now < self._bulkhead.next_at != self._wakes_at:
            self._wakes_at = self._bulkhead.next_at
            self._loop.call_at(self._wakes_at + TIMER_SECONDS, self._pump_room)

    # By the clock

    async def run(self) -> None:
        """Hold what has waited too long, renew and give back permits; until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._loop.time()
            self._lender.renew(now)
            for host in list(self._busy):
                self._tick(host, now)
            self._pump_room()
            self._registry.forget_idle()
            self._registry.look_for_storms(now)

    def _tick(self, host: Host[W], now: float) -> None:
        if self._control.store.healthy:  # to hold takes the store too
            reason = self._hindrance(host, now) or ("rate" if host.limits.rate else "concurrency")
            for work in self._overdue(host, reason, now):
                self._waiting -= 1
                if work.alive:
                    self.on_hold(work, self._hold(host, reason, now))
            if self._limited and self._control.pauses:
                self._hold_paused(host)
        self._pump(host)

    def _overdue(self, host: Host[W], reason: WaitReason, now: float) -> list[W]:
        """What has waited too long, or is more than a fair part of the room; the newest of the latter."""
        waiting, due = host.waiting, []
        step = host.step()
        if reason == "concurrency" and step and step <= QUICK_STEP_SECONDS and now - host.ended_at <= WAIT_SECONDS:
            return self._more_than_soon(host, step)
        closed = reason == "circuit-open" and host.circuit.rest(now) > WAIT_SECONDS
        # Without a refusal it is the store that is slow: to hold would take it even longer.
        patience = WAIT_SECONDS if host.refused or reason != "concurrency" else SLOW_STORE_SECONDS
        while waiting and (closed or waiting[0][0] <= now - patience):
            due.append(waiting.popleft()[1])
        excess = (
            len(waiting) - max(1, self._room // max(1, len(self._busy))) if self._waiting - len(due) > self._room else 0
        )
        # Where calls end quickly its queue moves by itself: putting back costs more than they do.
        most = max(MIN_PUT_BACK, self._room - PUT_BACK_LESS * host.ended)
        host.ended = 0
        for _ in range(min(excess, most)):
            if waiting[0][0] > now - TICK_SECONDS:
                break  # no more than a tick ago all may have been well
            due.append(waiting.pop()[1])
        return due

    def _more_than_soon(self, host: Host[W], step: float) -> list[W]:
        """Of a host that is rid of its calls quickly, now too: the newest that would not begin soon, a few of them.

        What waits begins in a moment, and each that is put back is replaced by the next of the same backlog.
        """
        later = len(host.waiting) - int(SOON_SECONDS / step)
        most = QUICK_PUT_BACK + host.ended // ENDED_A_PUT_BACK
        host.ended = 0
        return [host.waiting.pop()[1] for _ in range(min(later, most))]

    def _hold_paused(self, host: Host[W]) -> None:
        for _ in range(len(host.waiting)):
            since, work = host.waiting.popleft()
            tenant, _url, labels, _expires = self._place(work)
            if self._control.pauses.hold(tenant, host.name, labels):
                self._waiting -= 1
                self.on_hold(work, Hold("paused", None))
            else:
                host.waiting.append((since, work))

    def give_up(self) -> list[W]:
        """Everything that waits here, to be handed back; nothing waits any more."""
        left = [work for host in self._busy for _, work in host.waiting]
        for host in list(self._busy):
            host.waiting.clear()
            self._forget_waiting(host)
        self._waiting = 0
        return left

    async def close(self) -> None:
        await self._lender.close()
