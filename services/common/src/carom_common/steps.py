"""The four steps of every delivery: claim, call, settle, publish, then ack. The one place that knows their order.

A crash between any two of them is repaired by the redelivery, see ARCHITECTURE.md.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from time import perf_counter, time_ns
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

from carom_common.adapters.amqp.consumer import Delivery
from carom_common.adapters.amqp.errors import BrokerError
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.transitions import Claim, Renewal
from carom_common.contracts.sealing import Unsealable
from carom_common.domain import buckets
from carom_common.domain.bulkhead import Standing
from carom_common.domain.clock import now_ms
from carom_common.domain.pacing import growing_ms
from carom_common.telemetry import metrics
from carom_common.telemetry.attempts import AttemptTrace
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import sampled_trace
from carom_common.telemetry.tracing import Tracer
from carom_common.topology import CRASHED_QUEUES, DEAD, DEAD_QUEUES, DELAY, DELIVERY_LIMIT, delayed, parked_key
from carom_common.work import M, Work

RETRY_SECONDS = 0.5
LOG_EVERY = 20

log = get_logger()
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")

_STANDINGS = {standing: standing.name.lower() for standing in Standing}
_postponed = {reason: metrics.postponed.labels(reason) for reason in ("leased", "early", "held")}


class Publish(NamedTuple):
    """A message to publish before the ack."""

    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, Any] | None = None
    message_id: str | None = None
    """Set where the same message goes on: whoever settled it by this id may be gone before the next step is out."""
    traceparent: str = ""
    """That of the span which sends it, as the body says."""


class Abandoned(Exception):
    """The delivery went back to its queue while we waited for broker or store: its next delivery carries on."""


class FourSteps(ABC, Generic[M, O]):
    """What a service does with its messages; `O` is the outcome of a call."""

    def __init__(
        self, publisher: Publisher, kind: Literal["execute", "callback"], tracer: Tracer | None = None
    ) -> None:
        self._publisher = publisher
        self._kind = kind
        self._tracer = tracer
        self._slot_seconds = metrics.slot_wait_seconds.labels(kind)
        self._queue_seconds = metrics.queue_wait_seconds.labels(kind, "no")
        self._queue_seconds_held = metrics.queue_wait_seconds.labels(kind, "yes" if kind == "execute" else "no")
        self._claim_seconds, self._settle_seconds, self._publish_seconds = (
            metrics.step_seconds.labels(kind, step) for step in ("claim", "settle", "publish")
        )

    @abstractmethod
    def decode(self, body: bytes) -> M:
        """The message in a body; raises Undecodable for what must be parked."""

    @abstractmethod
    async def claim(self, work: Work[M], *, ask_only: bool = False) -> Claim: ...

    @abstractmethod
    async def call(self, work: Work[M]) -> O:
        """Make the call; every way that it can end is an outcome."""

    @abstractmethod
    async def settle(self, work: Work[M], outcome: O) -> bool: ...

    @abstractmethod
    def recorded(self, claim: Claim) -> O:
        """The outcome that an earlier delivery of this very message settled."""

    @abstractmethod
    def next_step(self, work: Work[M], outcome: O) -> list[Publish]:
        """What must be confirmed before the ack."""

    @abstractmethod
    def due(self, work: Work[M]) -> int:
        """Since when the message could be worked on, in Unix milliseconds; 0 where nobody knows."""

    @abstractmethod
    def tell(self, work: Work[M], outcome: O) -> None:
        """Write the one event of a call, when all that it led to is done or was given up."""

    @abstractmethod
    def home(self, work: Work[M]) -> str:
        """The routing key of the queue that the message came from."""

    @abstractmethod
    async def renew(self, work: Work[M]) -> Renewal: ...

    @abstractmethod
    async def release(self, work: Work[M]) -> None: ...

    async def process(self, work: Work[M]) -> None:
        """Take a due delivery through the four steps."""
        marks, now = work.marks, now_ms()
        marks.began = perf_counter()
        try:
            work.enter("claim")
            while (claim := await self._claim(work)).verdict == "run":
                work.leased = True
                work.enter("call")
                work.renewed_at = work.step_at
                if self._tracer is not None:
                    self._begin_trace(work, self._tracer)
                self._mark_claimed(work, claim, now)
                work.crash_loop = work.delivery.queue in CRASHED_QUEUES or claim.claims > DELIVERY_LIMIT
                try:
                    work.calling = True
                    outcome = await self.call(work)
                except asyncio.CancelledError:
                    if not work.resume_after_cancel():
                        raise
                    work.enter("claim")
                    if work.trace is not None:
                        work.trace.cancelled()
                        self._end_trace(work)
                    continue  # the job was cancelled: the claim says so
                finally:
                    work.calling = False
                    work.called()
                marks.called = perf_counter()
                work.enter("settle")
                try:
                    settled = await _until_stored(work, lambda outcome=outcome: self.settle(work, outcome))  # type: ignore[misc]
                    work.leased = False
                    if work.trace is not None:
                        work.trace.settled(accepted=settled)
                    if settled:
                        marks.settled = perf_counter()
                        work.enter("publish")
                        self._settle_seconds.observe(marks.settled - marks.called)
                        await self._finish(work, outcome)
                        return
                finally:
                    self.tell(work, outcome)
                # Another delivery took the attempt over, and may be lost since: ask anew, never just ack.
                metrics.settles_refused.inc()
                log.warning("settle_refused", job_id=work.message.job_id)
                self._end_trace(work)
                if not work.delivery.alive:
                    return
                work.enter("claim")
            work.enter("publish")
            if claim.verdict == "settled":
                await self._finish(work, self.recorded(claim))
                log.info("delivery_resumed", job_id=work.message.job_id, message_id=work.lease.message_id)
            else:
                await self._stand_back(work, claim)
        except Abandoned:
            self._end_trace(work)
        except Unsealable as error:
            await self.park(work.delivery, _sealed(error))

    def _mark_claimed(self, work: Work[M], claim: Claim, began_ms: int) -> None:
        """Note what is known now, and measure the waits before; once a delivery, however often it claims."""
        marks, given = work.marks, work.gate_pass
        first, marks.claimed = not marks.claimed, perf_counter()
        marks.claims = claim.claims
        marks.status, marks.call, marks.received, marks.settled = None, 0.0, 0, 0.0
        if given is not None:
            marks.host, marks.standing = given.host.name, _STANDINGS[given.standing]
        if not first:
            return
        marks.was_held = claim.was_held
        self._claim_seconds.observe(marks.claimed - marks.began)
        self._slot_seconds.observe(marks.began - marks.arrived)
        if due := self.due(work):
            marks.queued = max(0, began_ms - due) / 1000
            seconds = self._queue_seconds_held if claim.was_held else self._queue_seconds
            seconds.observe(marks.queued, sampled_trace(work.message.traceparent))

    def facts(self, work: Work[M]) -> dict[str, Any]:
        """What the events of all calls say of the delivery.

        `ended`: acked, unsettled (the outcome does not count, the call is repeated), or handed-back (the message went
        back to the broker before its next step was out).
        """
        message, marks = work.message, work.marks
        return {
            "tenant": message.tenant,
            "generation": message.generation,
            "queue": work.delivery.queue,
            "message_id": work.lease.message_id,
            "host": marks.host,
            "standing": marks.standing,
            "claims": marks.claims,
            "was_held": marks.was_held,
            "ended": "acked" if marks.published else "handed-back" if marks.settled else "unsettled",
            **marks.spent(),
        }

    async def _claim(self, work: Work[M]) -> Claim:
        claim = await _until_stored(work, lambda: self.claim(work))
        while claim.verdict == "leased" and work.delivery.queue in CRASHED_QUEUES:
            # Whoever crashed holds a lease still. Put back, the message would begin another thousand deliveries.
            await asyncio.sleep(claim.lease_ms / 1000)
            claim = await _until_stored(work, lambda: self.claim(work))
        return claim

    async def _finish(self, work: Work[M], outcome: O) -> None:
        started, trace = perf_counter(), work.trace
        steps = self.next_step(work, outcome)
        for message in steps:
            sent_at = time_ns() if trace is not None else 0
            message_id = await self._publish(work, message)
            if trace is not None:
                trace.published(message.exchange, message.routing_key, message_id, message.traceparent, sent_at)
            if message.exchange == DEAD:
                metrics.dead_letters.labels(DEAD_QUEUES[message.routing_key]).inc()
        work.marks.published = perf_counter()
        if steps:
            self._publish_seconds.observe(work.marks.published - started)
        work.ack()
        self._end_trace(work)

    def _begin_trace(self, work: Work[M], tracer: Tracer) -> None:
        work.trace = AttemptTrace(tracer, cast(Any, work.message))
        work.message = cast(M, work.trace.message)

    def _end_trace(self, work: Work[M]) -> None:
        trace, work.trace = work.trace, None
        if trace is not None:
            delivery = work.delivery
            trace.end(delivery.queue, delivery.routing_key, work.lease.message_id, len(delivery.body))

    async def hop(self, work: Work[M]) -> None:
        """Put an early message into the longest bucket that does not overshoot its eta, confirm, ack."""
        try:
            claim = await _until_stored(work, lambda: self.claim(work, ask_only=True))
            if claim.verdict in ("run", "settled"):  # settled: by a faster clock; its next step is published in time
                bucket = buckets.largest_within(work.message.eta - now_ms()) or buckets.SHORTEST
                await self._put_back(work, bucket, "early")
            else:
                await self._stand_back(work, claim)
        except Abandoned:
            return
        except Unsealable as error:
            await self.park(work.delivery, _sealed(error))

    async def hold(self, work: Work[M], reason: str, delay_ms: int | None) -> None:
        """Put a message that may not begin now into a delay bucket, confirm, ack. Its job says why it waits."""
        metrics.holds.labels(reason).inc()
        try:
            claim = await _until_stored(work, lambda: self.claim_held(work, reason))
            if claim.verdict == "run":
                delay = growing_ms(claim.holds) if delay_ms is None else delay_ms
                if (expires := self.expires(work)) > 0:
                    delay = min(delay, expires - now_ms())
                bucket = buckets.largest_within(delay) or buckets.SHORTEST
                await self._put_back(work, bucket, "held", self.home_of_held(work))
            elif claim.verdict == "settled":
                await self._finish(work, self.recorded(claim))
            else:
                await self._stand_back(work, claim)
        except Abandoned:
            return
        except Unsealable as error:
            await self.park(work.delivery, _sealed(error))

    def home_of_held(self, work: Work[M]) -> str:
        """The routing key of the queue where a held message looks again."""
        return self.home(work)

    async def claim_held(self, work: Work[M], reason: str) -> Claim:
        """As `claim` asks; when the message is due, whoever looks at its job sees the reason."""
        return await self.claim(work, ask_only=True)

    def expires(self, work: Work[M]) -> int:
        """When the job ends by itself, in Unix milliseconds; 0 for never."""
        return 0

    async def park(self, delivery: Delivery, reason: str) -> None:
        """Publish an unreadable message to `carom.parked` with the reason, confirm, ack."""
        headers = {"reason": reason[:500], "queue": delivery.queue}
        while delivery.alive:
            try:
                await self._publisher.publish(DEAD, parked_key(self._kind), delivery.body, headers)
            except BrokerError as error:
                metrics.publish_failures.labels(type(error).__name__).inc()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                metrics.parked.inc()
                log.error("message_parked", queue=delivery.queue, message_id=delivery.message_id, reason=reason[:500])
                delivery.ack()
                return

    async def _stand_back(self, work: Work[M], claim: Claim) -> None:
        """Leave the attempt to whoever has it: wait for the lease's rest, or drop a copy that is not needed."""
        if claim.verdict == "leased":
            bucket = next((b for b in buckets.BUCKETS if b >= claim.lease_ms), buckets.BUCKETS[-1])
            await self._put_back(work, bucket, "leased")
            return
        metrics.dropped.labels(claim.why).inc()
        log.info("delivery_dropped", job_id=work.message.job_id, message_id=work.lease.message_id, reason=claim.why)
        work.ack()

    async def _put_back(self, work: Work[M], bucket: int, reason: str, home: str = "") -> None:
        """The same message, under the same id, to a delay bucket: confirm, ack. Uses up no attempt."""
        _postponed[reason].inc()
        key = delayed(home or self.home(work), bucket)
        await self._publish(work, Publish(DELAY, key, work.delivery.body, message_id=work.delivery.message_id))
        work.ack_replaced()

    async def _publish(self, work: Work[M], message: Publish) -> str:
        """Publish with confirm, as often as it takes, return its id; raises Abandoned when the delivery went back."""
        tries = 0
        while work.delivery.alive:
            if message.message_id is not None:
                work.puts_back()
            try:
                return await self._publisher.publish(
                    message.exchange, message.routing_key, message.body, message.headers, message.message_id
                )
            except BrokerError as error:
                if tries % LOG_EVERY == 0:
                    log.warning("publish_failed", job_id=work.message.job_id, reason=str(error))
                tries += 1
                metrics.publish_failures.labels(type(error).__name__).inc()
                await asyncio.sleep(RETRY_SECONDS)
        raise Abandoned


def _sealed(error: Unsealable) -> str:
    metrics.unsealable.inc()
    return f"what its record says cannot be opened: {error}"


async def _until_stored(work: Work[M], ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the store until it answers; raises Abandoned when the delivery is no longer ours and was not called yet."""
    tries = 0
    while True:
        try:
            return await ask()
        except StoreUnavailable as error:
            if tries % LOG_EVERY == 0:
                log.warning("store_unavailable", job_id=work.message.job_id, reason=str(error))
            tries += 1
            metrics.publish_failures.labels("store").inc()
        if not work.delivery.alive and not work.leased:
            raise Abandoned
        await asyncio.sleep(RETRY_SECONDS)
