"""What both consumers do round their call: keep asking the store, publish until confirmed, postpone, park."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from carom_common.adapters.amqp.consumer import Delivery
from carom_common.adapters.amqp.errors import BrokerError
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.domain import buckets
from carom_common.domain.clock import now_ms
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.topology import DEAD, DELAY, delayed, parked_key
from carom_common.work import M, Work

RETRY_SECONDS = 0.5
LOG_EVERY = 20

log = get_logger()
T = TypeVar("T")


class Publish(NamedTuple):
    """A message to publish before the ack."""

    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, Any] | None = None
    message_id: str | None = None
    """Set where the same message goes on: whoever settled it by this id may be gone before the next step is out."""


class Abandoned(Exception):
    """The delivery went back to its queue while we waited for broker or store: its next delivery carries on."""


async def until_stored(work: Work[M], ask: Callable[[], Awaitable[T]]) -> T:
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


def refused(work: Work[M]) -> None:
    """Another delivery took the attempt over. Ours may have come after that one was lost: ask anew, never just ack.

    Raises Abandoned when the delivery has gone back to its queue.
    """
    log.warning("settle_refused", job_id=work.message.job_id)
    if not work.delivery.alive:
        raise Abandoned


async def publish_all(publisher: Publisher, work: Work[M], messages: Sequence[Publish]) -> None:
    """Publish every message with confirm, as often as it takes; raises Abandoned when the delivery has gone back."""
    for message in messages:
        await _publish(publisher, work, message)


async def _publish(publisher: Publisher, work: Work[M], message: Publish) -> None:
    tries = 0
    while work.delivery.alive:
        try:
            await publisher.publish(*message)
        except BrokerError as error:
            if tries % LOG_EVERY == 0:
                log.warning("publish_failed", job_id=work.message.job_id, reason=str(error))
            tries += 1
            metrics.publish_failures.labels(type(error).__name__).inc()
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
    raise Abandoned


async def postpone(publisher: Publisher, work: Work[M], delay_ms: int, home: str, reason: str) -> None:
    """Put the same message into the delay bucket that covers `delay_ms`, confirm, ack. Uses up no attempt."""
    bucket = next((b for b in buckets.BUCKETS if b >= delay_ms), buckets.BUCKETS[-1])
    metrics.postponed.labels(reason).inc()
    await _put_back(publisher, work, delayed(home, bucket))


async def hop(publisher: Publisher, work: Work[M], home: str) -> None:
    """Put an early message into the longest bucket that does not overshoot its eta, confirm, ack."""
    bucket = buckets.largest_within(work.message.eta - now_ms()) or buckets.SHORTEST
    metrics.postponed.labels("early").inc()
    await _put_back(publisher, work, delayed(home, bucket))


async def _put_back(publisher: Publisher, work: Work[M], key: str) -> None:
    same = Publish(DELAY, key, work.delivery.body, message_id=work.delivery.message_id)
    await publish_all(publisher, work, [same])
    work.ack()


async def park(publisher: Publisher, delivery: Delivery, service: str, reason: str) -> None:
    """Publish an unreadable message to `carom.parked` with the reason, confirm, ack."""
    headers = {"reason": reason[:500], "queue": delivery.queue}
    while delivery.alive:
        try:
            await publisher.publish(DEAD, parked_key(service), delivery.body, headers)
        except BrokerError as error:
            metrics.publish_failures.labels(type(error).__name__).inc()
            await asyncio.sleep(RETRY_SECONDS)
        else:
            metrics.parked.inc()
            log.error("message_parked", queue=delivery.queue, message_id=delivery.message_id, reason=reason[:500])
            delivery.ack()
            return
