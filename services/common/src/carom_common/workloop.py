"""From deliveries to running work: slots, fair turns between queues, holds, leases, drain. The same for every consumer.

A call runs in a task of its own, which the consumer's channel does not own: losing the channel does not end the call,
and the redelivery attaches to it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from time import perf_counter
from typing import Generic

from carom_common.adapters.amqp.consumer import Delivery
from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.store import Renewal
from carom_common.contracts.message import Undecodable
from carom_common.domain.clock import now_ms
from carom_common.domain.fair import WeightedTurns
from carom_common.gate import Gate
from carom_common.passes import Hold
from carom_common.settings import HOLD_SECONDS
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.topology import BARRIER, CRASHED_QUEUES, HELD_EXECUTE_QUEUE
from carom_common.work import M, Steps, Work

RENEW_SECONDS = 3.0
RENEW_LOOK_SECONDS = 0.1
"""So often leases are looked through: all at once, every 3 s, would be a stall that everything else waits for."""
ROOM_SECONDS = 0.1
FAILED_PAUSE_SECONDS = 5.0
HELD_PER_SECOND = 400
"""So many of those that looked again are put back once more: delays are buckets, and bring them back in crowds."""
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
HOLD_MS = int(HOLD_SECONDS * 1000)

log = get_logger()

_defect = metrics.defects.labels("step")


class WorkLoop(Generic[M]):
    """Runs at most `concurrency` messages at once; holds at most `max_held` early ones; buffers what is prefetched."""

    def __init__(
        self,
        steps: Steps[M],
        process: str,
        weights: Mapping[str, int],
        concurrency: int,
        max_held: int,
        give_back_after: float,
        gate: Gate[Work[M]] | None = None,
    ) -> None:
        self._steps = steps
        self._process = process
        self._concurrency = concurrency
        self._max_held = max_held
        self._give_back_after = give_back_after
        self._gate = gate
        self._turns = WeightedTurns(weights)
        self._buffers: dict[str, deque[Work[M]]] = {queue: deque() for queue in weights}
        self._buffered = 0
        self._held: set[Work[M]] = set()
        self._running: dict[str, Work[M]] = {}
        self._passed: deque[Work[M]] = deque()
        """Through the gate, without a slot yet."""
        self._put_back: dict[str, Work[M]] = {}
        self._next_put_back = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self.on_barrier: Callable[[Delivery], Coroutine[None, None, None]] | None = None
        if gate is not None:
            gate.on_ready, gate.on_hold = self._begin, self._hold_back
        metrics.slots.set(concurrency)
        metrics.in_flight.set_function(lambda: len(self._running))
        metrics.buffered.set_function(lambda: self._buffered)
        metrics.held.set_function(lambda: len(self._held))

    @property
    def slots(self) -> int:
        return self._concurrency

    def in_hand(self) -> dict[str, list[Work[M]]]:
        """All deliveries but those at the gate and those that are handed on at once, by where they are."""
        return {
            "running": list(self._running.values()),
            "waiting for a slot": list(self._passed),
            "being put back": list(self._put_back.values()),
            "held until due": list(self._held),
            "buffered": [work for buffer in self._buffers.values() for work in buffer],
        }

    def on_delivery(self, delivery: Delivery) -> None:
        if self._draining:
            delivery.requeue()
            return
        if self.on_barrier is not None and delivery.message_id.startswith(BARRIER):
            self._spawn(self._guard(self.on_barrier(delivery), delivery))
            return
        running = self._running.get(delivery.message_id) or self._put_back.get(delivery.message_id)
        if running is not None:
            running.attach(delivery)
            return
        try:
            if len(delivery.body) > MAX_MESSAGE_BYTES:
                raise Undecodable(f"body over {MAX_MESSAGE_BYTES} bytes")
            message = self._steps.decode(delivery.body)
        except Undecodable as error:
            self._spawn(self._guard(self._steps.park(delivery, str(error)), delivery))
            return
        work = Work(message, delivery, self._process)
        early = message.eta - now_ms() if message.eta else 0
        if early <= 0:
            self._admit(work)
        elif early <= HOLD_MS and len(self._held) < self._max_held:
            self._hold(work, early)
        else:
            self._spawn(self._guard(self._steps.hop(work), work))

    def _hold(self, work: Work[M], early: int) -> None:
        self._held.add(work)
        asyncio.get_running_loop().call_later(early / 1000, self._end_hold, work)

    def _end_hold(self, work: Work[M]) -> None:
        if work not in self._held or not work.delivery.alive:
            self._held.discard(work)  # handed back, or in its queue again
            return
        early = work.message.eta - now_ms()
        if early > 0:  # timers may be a millisecond early, and clocks step
            self._hold(work, min(early, HOLD_MS))
            return
        self._held.discard(work)
        self._admit(work)

    def _admit(self, work: Work[M]) -> None:
        if not self._buffered and self._may_take():
            self._pass_gate(work)
        else:
            self._buffers[work.delivery.queue].append(work)
            self._buffered += 1

    def _may_take(self) -> bool:
        """Whether it makes sense to ask the gate about one more."""
        if len(self._running) < self._concurrency:
            return not self._passed
        return self._gate is not None and self._gate.opens_reserve()

    def _pass_gate(self, work: Work[M]) -> None:
        if self._gate is None or work.delivery.queue in CRASHED_QUEUES:  # those are not called
            self._begin(work)
            return
        verdict = self._gate.admit(work)
        if verdict is True:
            self._begin(work)
        elif isinstance(verdict, Hold):
            self._hold_back(work, verdict)

    def _begin(self, work: Work[M]) -> None:
        """Start a delivery that is through the gate as soon as there is a slot."""
        if len(self._running) < self._concurrency or (self._gate is not None and self._gate.may_overdraw(work)):
            self._start(work)
        else:
            self._passed.append(work)

    def _hold_back(self, work: Work[M], hold: Hold) -> None:
        other = self._put_back.get(work.lease.message_id)
        if other is not None:
            other.attach(work.delivery)
            return
        self._put_back[work.lease.message_id] = work
        self._spawn(self._putting_back(work, hold))

    async def _putting_back(self, work: Work[M], hold: Hold) -> None:
        try:
            if work.delivery.queue == HELD_EXECUTE_QUEUE:
                await self._turn_to_put_back()
            await self._guard(self._steps.hold(work, hold.reason, hold.delay_ms), work)
        finally:
            del self._put_back[work.lease.message_id]
            self._take_late(work)

    async def _turn_to_put_back(self) -> None:
        now = asyncio.get_running_loop().time()
        self._next_put_back = max(now, self._next_put_back + 1 / HELD_PER_SECOND)
        if self._next_put_back > now:
            await asyncio.sleep(self._next_put_back - now)

    def _start(self, work: Work[M]) -> None:
        running = self._running.get(work.lease.message_id)
        if running is not None:  # two copies came before the first of them began
            running.attach(work.delivery)
            self._leave(work)
            return
        self._running[work.lease.message_id] = work
        work.on_called = self._leave
        work.task = self._spawn(self._run(work))

    async def _run(self, work: Work[M]) -> None:
        try:
            await self._guard(self._steps.process(work), work)
        finally:
            work.leased = False
            del self._running[work.lease.message_id]
            self._leave(work)
            self._take_late(work)
            self._start_next()

    def _take_late(self, work: Work[M]) -> None:
        for delivery in work.late:
            self.on_delivery(delivery)

    def _leave(self, work: Work[M]) -> None:
        if self._gate is not None:
            self._gate.done(work, work.answered)

    async def _guard(self, step: Awaitable[None], given: Work[M] | Delivery) -> None:
        """A step that breaks is a defect. Its message goes back after a pause, at most as often as crashes may."""
        try:
            await step
        except Exception:
            _defect.inc()
            if isinstance(given, Work):
                log.exception("step_failed", job_id=given.message.job_id)
                await self._release(given)
            else:
                log.exception("step_failed", message_id=given.message_id)
            asyncio.get_running_loop().call_later(FAILED_PAUSE_SECONDS, given.requeue)

    def _start_next(self) -> None:
        while self._passed and len(self._running) < self._concurrency and not self._draining:
            work = self._passed.popleft()
            if work.alive:
                self._start(work)
            else:
                self._leave(work)
        while self._buffered and self._may_take() and not self._draining:
            queue = self._turns.pick([name for name, buffer in self._buffers.items() if buffer])
            work = self._buffers[queue].popleft()
            self._buffered -= 1
            if work.alive:  # a dead one is in its queue again
                self._pass_gate(work)

    def _spawn(self, step: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def keep_leases(self, beat: Callable[[], None]) -> None:
        """Renew the leases of running work, and hand back what has waited too long for a slot; until cancelled."""
        pause = RENEW_LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            beat()
            oldest = perf_counter() - RENEW_SECONDS
            due = [w for w in self._running.values() if w.leased and w.renewed_at < oldest]
            renewals = await asyncio.gather(*map(self._renew, due))
            pause = RENEW_SECONDS if None in renewals else RENEW_LOOK_SECONDS
            for work, renewal in zip(due, renewals, strict=True):
                if renewal is Renewal.CANCELLED:
                    work.cancel_call()
                elif renewal is Renewal.LOST and work.leased:
                    metrics.leases_lost.inc()
                    log.warning("lease_lost", job_id=work.message.job_id)
            self._give_back()

    async def look_for_room(self) -> None:
        """Look now and then whether proven hosts wait while all slots hang at others; until cancelled."""
        while True:
            await asyncio.sleep(ROOM_SECONDS)
            self._start_next()

    async def _renew(self, work: Work[M]) -> Renewal | None:
        """None while the store is away: nobody else can claim either."""
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                renewal = await self._steps.renew(work)
            work.renewed_at = perf_counter()
            return renewal
        except (StoreUnavailable, TimeoutError):
            return None
        except Exception as error:  # the lease runs out, and nobody may end the loop that renews all others
            _defect.inc()
            log.exception("lease_not_renewed", job_id=work.message.job_id, reason=type(error).__name__)
            return None

    def _give_back(self) -> None:
        # The broker closes a channel whose delivery stays unacked beyond its consumer timeout.
        oldest = perf_counter() - self._give_back_after
        for buffer in self._buffers.values():
            while buffer and buffer[0].marks.arrived < oldest:
                work = buffer.popleft()
                self._buffered -= 1
                work.requeue()

    async def drain(self, timeout: float) -> int:
        """Hand back what has not begun, wait for what runs, give up the leases of the rest; returns how many."""
        self._draining = True
        waiting = self._gate.give_up() if self._gate is not None else []
        buffered = (work for buffer in self._buffers.values() for work in buffer)
        for work in (*self._held, *waiting, *self._passed, *buffered):
            work.requeue()
        self._passed.clear()
        self._held.clear()
        for buffer in self._buffers.values():
            buffer.clear()
        self._buffered = 0
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout)
        left = list(self._running.values())  # a claim may be under way
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._release(work) for work in left))
        return len(left)

    async def _release(self, work: Work[M]) -> None:
        try:
            async with asyncio.timeout(2):
                await self._steps.release(work)
        except Exception as error:
            log.warning("lease_not_released", job_id=work.message.job_id, reason=str(error))
