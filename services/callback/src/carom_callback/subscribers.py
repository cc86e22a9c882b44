"""The four steps of a callback: claim, call, settle, publish, then ack, in the executor's order for the same reason."""

import time
from collections.abc import Sequence
from typing import Any

from carom_callback import domain
from carom_common.adapters.amqp.consumer import Delivery
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.client import EgressClient, OutboundRequest
from carom_common.adapters.egress.errors import EgressError
from carom_common.adapters.store.store import Lease, Store
from carom_common.contracts.message import CallbackMessage, decode_callback, encode
from carom_common.domain.buckets import SHORTEST, largest_within
from carom_common.domain.clock import now_ms
from carom_common.steps import Abandoned, Publish, hop, park, postpone, publish_all, refused, until_stored
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import trace_id
from carom_common.topology import (
    CALLBACK_KEY,
    CRASHED_CALLBACK_QUEUE,
    DEAD,
    DEAD_CALLBACK_KEY,
    DEAD_CALLBACK_QUEUE,
    DELAY,
    delayed,
)
from carom_common.work import Work

log = get_logger()

_outcomes = {name: metrics.callbacks.labels(name) for name in ("delivered", "retried", "exhausted", "gone", "refused")}


class CallbackSteps:
    """Implements `carom_common.work.Steps` for callback messages."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        egress: EgressClient,
        timeout: float,
        delays: Sequence[float],
        key: bytes | None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._egress = egress
        self._timeout = timeout
        self._delays = delays
        self._key = key

    def decode(self, body: bytes) -> CallbackMessage:
        return decode_callback(body)

    async def process(self, work: Work[CallbackMessage]) -> None:
        try:
            decision = await self._decision(work)
            if decision is not None:
                await publish_all(self._publisher, work, _next_step(work.message, decision))
                work.ack()
        except Abandoned:
            return

    async def _decision(self, work: Work[CallbackMessage]) -> domain.Decision | None:
        """The outcome whose next step is ours to publish; None when this delivery needs nothing more."""
        while True:
            claim = await until_stored(work, lambda: self._store.claim_callback(work.message, work.lease))
            if claim.verdict == "settled":
                return _stored_decision(claim.stored)
            if claim.verdict == "leased":
                await postpone(self._publisher, work, claim.lease_ms, CALLBACK_KEY, "leased")
                return None
            if claim.verdict == "drop":
                self._drop(work, claim.why)
                return None
            work.leased = True
            decision = await self._attempt(work)
            settled = await until_stored(work, lambda: self._settle(work, decision))  # noqa: B023
            work.leased = False
            if settled:
                return decision
            refused(work)

    async def _settle(self, work: Work[CallbackMessage], decision: domain.Decision) -> bool:
        return await self._store.settle_callback(
            work.message, work.lease, decision.status, decision.eta, decision.error, decision.dead
        )

    async def _attempt(self, work: Work[CallbackMessage]) -> domain.Decision:
        message = work.message
        if work.delivery.queue == CRASHED_CALLBACK_QUEUE:
            decision = domain.crash_loop()
            status = None
        else:
            body = domain.webhook_body(message)
            headers = domain.webhook_headers(message, body, int(time.time()), self._key)
            request = OutboundRequest("POST", message.job.callback_url or "", headers, body, self._timeout)
            started = time.perf_counter()
            decision, status = await self._call(message, request)
            metrics.callback_seconds.observe(time.perf_counter() - started)
        _outcomes[decision.outcome].inc()
        report = log.info if decision.status == "delivered" else log.warning
        report(
            "callback",
            job_id=message.job_id,
            attempt=message.callback_attempt,
            outcome=decision.outcome,
            status=status,
            trace_id=trace_id(message.traceparent),
            **({"error": decision.error} if decision.error else {}),
            **({"retry_in_ms": decision.wait} if decision.eta else {}),
        )
        return decision

    async def _call(self, message: CallbackMessage, request: OutboundRequest) -> tuple[domain.Decision, int | None]:
        try:
            response = await self._egress.send(request)
        except EgressError as error:
            return domain.judge_failure(message, str(error), error.retryable, self._delays, now_ms()), None
        retry_after = response.headers.get("retry-after")
        return domain.judge_answer(message, response.status, retry_after, self._delays, now_ms()), response.status

    def _drop(self, work: Work[CallbackMessage], why: str) -> None:
        metrics.dropped.labels(why).inc()
        log.info("delivery_dropped", job_id=work.message.job_id, attempt=work.message.callback_attempt, reason=why)
        work.ack()

    async def hop(self, work: Work[CallbackMessage]) -> None:
        try:
            claim = await until_stored(
                work, lambda: self._store.claim_callback(work.message, work.lease, ask_only=True)
            )
            if claim.verdict in ("run", "settled"):  # settled: by a faster clock; its next step is published in time
                await hop(self._publisher, work, CALLBACK_KEY)
            elif claim.verdict == "leased":
                await postpone(self._publisher, work, claim.lease_ms, CALLBACK_KEY, "leased")
            else:
                self._drop(work, claim.why)
        except Abandoned:
            return

    async def park(self, delivery: Delivery, reason: str) -> None:
        await park(self._publisher, delivery, "callback", reason)

    async def renew(self, lease: Lease) -> bool:
        return await self._store.renew_callback(lease)

    async def release(self, lease: Lease) -> None:
        await self._store.release_callback(lease)


def _stored_decision(stored: tuple[Any, ...]) -> domain.Decision:
    status, eta, error, dead = stored
    wait = max(0, int(eta) - now_ms())
    return domain.Decision(status.decode(), "retried", int(eta), wait, error.decode("utf-8", "replace"), dead == b"1")


def _next_step(message: CallbackMessage, decision: domain.Decision) -> list[Publish]:
    if decision.status == "pending":
        bucket = largest_within(decision.wait) or SHORTEST
        return [Publish(DELAY, delayed(CALLBACK_KEY, bucket), encode(domain.retry_message(message, decision.eta)))]
    if decision.dead:
        metrics.dead_letters.labels(DEAD_CALLBACK_QUEUE).inc()
        return [Publish(DEAD, DEAD_CALLBACK_KEY, encode(message), {"reason": decision.error[:500]})]
    return []
