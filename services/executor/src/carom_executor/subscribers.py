"""The four steps of an attempt: claim, call, settle, publish, then ack.

A crash between any two is repaired by the redelivery.
"""

import time

from carom_common.adapters.amqp.consumer import Delivery
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.client import EgressClient, OutboundRequest
from carom_common.adapters.egress.errors import EgressError
from carom_common.adapters.store.store import Claim, Lease, Settlement, Store, stored_settlement
from carom_common.contracts.message import ExecuteMessage, decode_execute, encode
from carom_common.domain.buckets import SHORTEST, largest_within
from carom_common.domain.clock import now_ms
from carom_common.steps import Abandoned, Publish, hop, park, postpone, publish_all, refused, until_stored
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import trace_id
from carom_common.topology import (
    CALLBACK_KEY,
    CRASHED_EXECUTE_QUEUE,
    DEAD,
    DEAD_EXECUTE_KEY,
    DEAD_EXECUTE_QUEUE,
    DELAY,
    WORK,
    delayed,
    execute_key,
)
from carom_common.work import Work
from carom_executor import domain

log = get_logger()

_outcomes = {name: metrics.attempts.labels(name) for name in ("completed", "retried", "exhausted", "failed")}
_job_seconds = {status: metrics.job_seconds.labels(status) for status in ("completed", "failed")}


class ExecuteSteps:
    """Implements `carom_common.work.Steps` for execute messages."""

    def __init__(self, store: Store, publisher: Publisher, egress: EgressClient) -> None:
        self._store = store
        self._publisher = publisher
        self._egress = egress

    def decode(self, body: bytes) -> ExecuteMessage:
        return decode_execute(body)

    async def process(self, work: Work[ExecuteMessage]) -> None:
        try:
            settlement = await self._settlement(work)
            if settlement is not None:
                await publish_all(self._publisher, work, _next_step(work.message, settlement, _home(work)))
                work.ack()
        except Abandoned:
            return

    async def _settlement(self, work: Work[ExecuteMessage]) -> Settlement | None:
        """The outcome whose next step is ours to publish; None when this delivery needs nothing more."""
        while True:
            claim = await self._claim(work)
            if claim.verdict == "settled":
                return stored_settlement(claim.stored)
            if claim.verdict == "leased":
                await postpone(self._publisher, work, claim.lease_ms, _home(work), "leased")
                return None
            if claim.verdict == "drop":
                self._drop(work, claim.why)
                return None
            work.leased = True
            settlement = await self._attempt(work)
            settled = await until_stored(work, lambda: self._store.settle(work.message, work.lease, settlement))  # noqa: B023
            work.leased = False
            if settled:
                return settlement
            refused(work)

    async def _claim(self, work: Work[ExecuteMessage]) -> Claim:
        return await until_stored(work, lambda: self._store.claim(work.message, work.lease))

    async def _attempt(self, work: Work[ExecuteMessage]) -> Settlement:
        message = work.message
        if work.delivery.queue == CRASHED_EXECUTE_QUEUE:
            now, duration = now_ms(), 0.0
            decision = domain.crash_loop(message, now)
        else:
            if message.eta:
                metrics.lateness_seconds.observe(max(0, now_ms() - message.eta) / 1000)
            started = time.perf_counter()
            result = await self._call(message)
            duration = time.perf_counter() - started
            metrics.attempt_seconds.observe(duration)
            now = now_ms()
            decision = domain.decide(message, result, now, int(duration * 1000))
        self._count(message, decision, duration, now)
        return Settlement(decision.status, now, decision.eta, decision.error, decision.dead, decision.entry)  # type: ignore[arg-type]

    async def _call(self, message: ExecuteMessage) -> domain.Response | domain.NoResponse:
        job = message.job
        headers, body = domain.outgoing(message)
        request = OutboundRequest(job.method, job.target_url, headers, body, job.timeout / 1000, job.follow_redirects)
        try:
            response = await self._egress.send(request)
        except EgressError as error:
            return domain.NoResponse(error.reason, error.retryable, str(error))
        return domain.Response(response.status, response.headers, response.body, response.truncated)

    def _count(self, message: ExecuteMessage, decision: domain.Decision, duration: float, now: int) -> None:
        if decision.status == "waiting":
            outcome = "retried"
            metrics.retries.labels(decision.reason).inc()
        else:
            outcome = "exhausted" if decision.dead else decision.status
            _job_seconds[decision.status].observe(max(0, now - message.created_at) / 1000)
        _outcomes[outcome].inc()
        report = log.info if decision.status == "completed" else log.warning
        report(
            "attempt",
            job_id=message.job_id,
            attempt=message.attempt,
            outcome=outcome,
            status=decision.entry.status_code,
            duration_ms=int(duration * 1000),
            trace_id=trace_id(message.traceparent),
            # With a response the status says it; the text may quote its Location header.
            **({"error": decision.entry.error} if decision.entry.status_code is None else {}),
            **({"retry_in_ms": decision.eta - now} if decision.eta else {}),
        )

    def _drop(self, work: Work[ExecuteMessage], why: str) -> None:
        metrics.dropped.labels(why).inc()
        log.info("delivery_dropped", job_id=work.message.job_id, attempt=work.message.attempt, reason=why)
        work.ack()

    async def hop(self, work: Work[ExecuteMessage]) -> None:
        try:
            claim = await until_stored(work, lambda: self._store.claim(work.message, work.lease, ask_only=True))
            if claim.verdict in ("run", "settled"):  # settled: by a faster clock; its next step is published in time
                await hop(self._publisher, work, _home(work))
            elif claim.verdict == "leased":
                await postpone(self._publisher, work, claim.lease_ms, _home(work), "leased")
            else:
                self._drop(work, claim.why)
        except Abandoned:
            return

    async def park(self, delivery: Delivery, reason: str) -> None:
        await park(self._publisher, delivery, "execute", reason)

    async def renew(self, lease: Lease) -> bool:
        return await self._store.renew(lease)

    async def release(self, lease: Lease) -> None:
        await self._store.release(lease)


def _home(work: Work[ExecuteMessage]) -> str:
    """The routing key of the queue the message came from."""
    priority = work.delivery.queue.rpartition(".")[2]
    return execute_key(priority if work.delivery.queue != CRASHED_EXECUTE_QUEUE else "normal")


def _next_step(message: ExecuteMessage, settlement: Settlement, home: str) -> list[Publish]:
    if settlement.status == "waiting":
        retry = domain.retry_message(message, settlement.entry, settlement.eta)
        bucket = largest_within(settlement.eta - settlement.now) or SHORTEST
        return [Publish(DELAY, delayed(home, bucket), encode(retry))]
    steps = []
    if settlement.dead:
        metrics.dead_letters.labels(DEAD_EXECUTE_QUEUE).inc()
        letter = domain.dead_letter(message, settlement.entry)
        steps.append(Publish(DEAD, DEAD_EXECUTE_KEY, encode(letter), {"reason": settlement.error[:500]}))
    if message.job.callback_url is not None:
        callback = domain.callback_message(
            message, settlement.status, settlement.error, settlement.dead, settlement.now, settlement.entry
        )
        steps.append(Publish(WORK, CALLBACK_KEY, encode(callback)))
    return steps
