"""Attempts: what the executor puts into the four steps (carom_common.steps)."""

import time

from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.client import EgressClient, OutboundRequest
from carom_common.adapters.egress.errors import EgressError
from carom_common.adapters.store.store import Claim, Lease, Settlement, Store, stored_settlement
from carom_common.contracts.message import ExecuteMessage, decode_execute, encode
from carom_common.domain.buckets import SHORTEST, largest_within
from carom_common.domain.clock import now_ms
from carom_common.steps import FourSteps, Publish
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import trace_id
from carom_common.topology import (
    CALLBACK_KEY,
    CRASHED_EXECUTE_QUEUE,
    DEAD,
    DEAD_EXECUTE_KEY,
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


class ExecuteSteps(FourSteps[ExecuteMessage, Settlement]):
    """The four steps of an attempt to call a target."""

    def __init__(self, store: Store, publisher: Publisher, egress: EgressClient) -> None:
        super().__init__(publisher, "execute")
        self._store = store
        self._egress = egress

    def decode(self, body: bytes) -> ExecuteMessage:
        return decode_execute(body)

    async def claim(self, work: Work[ExecuteMessage], *, ask_only: bool = False) -> Claim:
        return await self._store.claim(work.message, work.lease, ask_only=ask_only)

    async def settle(self, work: Work[ExecuteMessage], outcome: Settlement) -> bool:
        return await self._store.settle(work.message, work.lease, outcome)

    def recorded(self, claim: Claim) -> Settlement:
        return stored_settlement(claim.stored)

    async def renew(self, lease: Lease) -> bool:
        return await self._store.renew(lease)

    async def release(self, lease: Lease) -> None:
        await self._store.release(lease)

    async def call(self, work: Work[ExecuteMessage]) -> Settlement:
        message = work.message
        if work.crash_loop:
            now, duration = now_ms(), 0.0
            decision = domain.crash_loop(message, now)
        else:
            if message.eta:
                metrics.lateness_seconds.observe(max(0, now_ms() - message.eta) / 1000)
            started = time.perf_counter()
            result = await self._send(message)
            duration = time.perf_counter() - started
            metrics.attempt_seconds.observe(duration)
            now = now_ms()
            decision = domain.decide(message, result, now, int(duration * 1000))
        self._count(message, decision, duration, now)
        return Settlement(decision.status, now, decision.eta, decision.error, decision.dead, decision.entry)  # type: ignore[arg-type]

    async def _send(self, message: ExecuteMessage) -> domain.Response | domain.NoResponse:
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

    def home(self, work: Work[ExecuteMessage]) -> str:
        crashed = work.delivery.queue == CRASHED_EXECUTE_QUEUE
        return execute_key("normal" if crashed else work.delivery.queue.rpartition(".")[2])

    def next_step(self, work: Work[ExecuteMessage], outcome: Settlement) -> list[Publish]:
        """A retry; or the dead letter when retries are spent, and the callback where one is wanted."""
        message = work.message
        if outcome.status == "waiting":
            retry = domain.retry_message(message, outcome.entry, outcome.eta)
            bucket = largest_within(outcome.eta - outcome.now) or SHORTEST
            return [Publish(DELAY, delayed(self.home(work), bucket), encode(retry))]
        steps = []
        if outcome.dead:
            letter = domain.dead_letter(message, outcome.entry)
            # Never text of the target's: a header too large breaks dead-lettering. The error is in the body.
            reason = domain.CRASH_LOOP if work.crash_loop else "retries spent"
            steps.append(Publish(DEAD, DEAD_EXECUTE_KEY, encode(letter), {"reason": reason}))
        if message.job.callback_url is not None:
            callback = domain.callback_message(
                message, outcome.status, outcome.error, outcome.dead, outcome.now, outcome.entry
            )
            steps.append(Publish(WORK, CALLBACK_KEY, encode(callback)))
        return steps
