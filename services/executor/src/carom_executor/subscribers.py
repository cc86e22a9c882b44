"""Attempts: what the executor puts into the four steps (carom_common.steps)."""

import time
from collections.abc import Callable
from typing import Literal

from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.client import EgressClient, OutboundRequest
from carom_common.adapters.egress.errors import EgressError
from carom_common.adapters.store.executions import Executions
from carom_common.adapters.store.transitions import Claim, Renewal, Settlement, stored_settlement
from carom_common.contracts.message import ExecuteMessage, body_of, decode_execute
from carom_common.contracts.sealing import Vault
from carom_common.domain.buckets import SHORTEST, largest_within
from carom_common.domain.circuit import tells_presence
from carom_common.domain.clock import now_ms
from carom_common.domain.egress_rules import NO_RULES, EgressRules
from carom_common.domain.outgoing import outgoing_body, outgoing_headers
from carom_common.domain.signatures import Signer
from carom_common.passes import Place
from carom_common.steps import FourSteps, Publish
from carom_common.telemetry import metrics
from carom_common.telemetry.attempts import AttemptTrace
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import trace_id
from carom_common.telemetry.tracing import Tracer
from carom_common.topology import (
    CALLBACK_KEY,
    DEAD,
    DEAD_EXECUTE_KEY,
    DELAY,
    HELD_EXECUTE_KEY,
    HELD_EXECUTE_QUEUE,
    WORK,
    delayed,
    execute_key,
    lane_key,
)
from carom_common.work import Work
from carom_executor import domain
from carom_executor.detail import detail_of

log = get_logger()

_outcomes = {name: metrics.attempts.labels(name) for name in ("completed", "retried", "exhausted", "failed", "expired")}
_job_seconds = {status: metrics.job_seconds.labels(status) for status in ("completed", "failed", "expired")}


def place(message: ExecuteMessage) -> Place:
    """What the gate asks of a message."""
    return Place(message.tenant, message.job.target_url, message.job.labels, message.expires)


class ExecuteSteps(FourSteps[ExecuteMessage, Settlement]):
    """The four steps of an attempt to call a target."""

    def __init__(
        self,
        executions: Executions,
        publisher: Publisher,
        egress: EgressClient,
        signer: Callable[[str], Signer | None],
        vault: Vault,
        rules: EgressRules = NO_RULES,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(publisher, "execute", tracer)
        self._executions = executions
        self._egress = egress
        self._signer = signer
        self._vault = vault
        self._rules = rules

    def decode(self, body: bytes) -> ExecuteMessage:
        return decode_execute(body, self._vault)

    async def claim(self, work: Work[ExecuteMessage], *, ask_only: bool = False) -> Claim:
        return await self._executions.claim(work.message, work.lease, ask_only=ask_only)

    async def claim_held(self, work: Work[ExecuteMessage], reason: str) -> Claim:
        return await self._executions.claim(work.message, work.lease, ask_only=True, held=reason)

    def expires(self, work: Work[ExecuteMessage]) -> int:
        return work.message.expires

    async def settle(self, work: Work[ExecuteMessage], outcome: Settlement) -> bool:
        return await self._executions.settle(work.message, work.lease, outcome)

    def recorded(self, claim: Claim) -> Settlement:
        return stored_settlement(claim.stored)

    async def renew(self, work: Work[ExecuteMessage]) -> Renewal:
        return await self._executions.renew(work.lease)

    async def release(self, work: Work[ExecuteMessage]) -> None:
        await self._executions.release(work.lease)

    async def call(self, work: Work[ExecuteMessage]) -> Settlement:
        message = work.message
        now, duration = now_ms(), 0.0
        if work.crash_loop:
            decision = domain.crash_loop(message, now)
        elif domain.has_expired(message, now):
            decision = domain.expired(message)
        else:
            if message.eta:
                metrics.lateness_seconds.observe(max(0, now - message.eta) / 1000)
            started = time.perf_counter()
            result = await self._send(message, now, work.trace)
            work.answered = tells_presence(result.reason) if isinstance(result, domain.NoResponse) else True
            duration = time.perf_counter() - started
            metrics.attempt_seconds.observe(duration)
            began, now = now, now_ms()
            if domain.cut_off(message, result, began):
                work.answered = None  # who had less time than was asked for may be there all the same
                now = max(now, message.expires)  # the timer may fire a moment early
            decision = domain.decide(message, result, now, int(duration * 1000))
        outcome = self._count(message, decision, duration, now)
        if work.trace is not None:
            retry = decision.eta - now if decision.eta else 0
            work.trace.decided(outcome, decision.reason, failed=outcome != "completed", retry_ms=retry)
        return Settlement(
            decision.status, now, decision.eta, decision.error, decision.dead, decision.reason, decision.entry
        )

    async def _send(
        self, message: ExecuteMessage, now: int, trace: AttemptTrace | None
    ) -> domain.Response | domain.NoResponse:
        job = message.job
        rules = self._rules.of(message.tenant)
        # Once more, after intake: the job may be older than the rules.
        if job.headers and (why := rules.headers.first(job.headers, rules.targets)) is not None:
            return domain.NoResponse("refused", False, f"refused by the egress rules: {why}")
        headers, body = outgoing_headers(job, message.job_id, message.attempt), outgoing_body(job)
        if job.sign:
            signer = self._signer(message.tenant)
            if signer is None:
                return domain.UNSIGNABLE
            headers |= signer.headers(message.job_id, int(time.time()), body or b"")
        request = OutboundRequest(
            job.method,
            job.target_url,
            headers,
            body,
            domain.call_timeout(message, now) / 1000,
            job.follow_redirects,
            rules.targets,
        )
        if trace is not None:
            trace.calling(job.method, job.target_url, headers, propagate=rules.trace_context)
        try:
            response = await self._egress.send(request)
        except EgressError as error:
            if trace is not None:
                trace.called(None, error.watch.address if error.watch is not None else None, error.reason)
            detail = detail_of(error.watch.timing(), error.watch.address) if error.watch is not None else None
            return domain.NoResponse(error.reason, error.retryable, str(error), detail)
        if trace is not None:
            trace.called(response.status, response.watch.address)
        detail = detail_of(response.watch.timing(), response.watch.address, response.headers)
        return domain.Response(response.status, response.headers, response.body, response.truncated, detail)

    def _count(self, message: ExecuteMessage, decision: domain.Decision, duration: float, now: int) -> str:
        """Tell how an attempt ended; returns its outcome."""
        if decision.status == "waiting":
            outcome = "retried"
            metrics.retries.labels(decision.reason).inc()
        else:
            outcome = "exhausted" if decision.dead else decision.status
            _job_seconds[decision.status].observe(max(0, now - message.created_at) / 1000)
        _outcomes[outcome].inc()
        status = decision.entry.status_code if decision.entry is not None else None
        report = log.info if decision.status == "completed" else log.warning
        report(
            "attempt",
            job_id=message.job_id,
            attempt=message.attempt,
            outcome=outcome,
            status=status,
            duration_ms=int(duration * 1000),
            trace_id=trace_id(message.traceparent),
            # With a response the status says it; the text may quote its Location header, as may that of an expiry.
            **({"error": decision.entry.error} if decision.entry is not None and status is None else {}),
            **({"retry_in_ms": decision.eta - now} if decision.eta else {}),
        )
        return outcome

    def home(self, work: Work[ExecuteMessage]) -> str:
        if work.delivery.queue == HELD_EXECUTE_QUEUE:
            return HELD_EXECUTE_KEY
        return execute_key(work.message.job.priority)

    def home_of_held(self, work: Work[ExecuteMessage]) -> str:
        return HELD_EXECUTE_KEY

    def next_step(self, work: Work[ExecuteMessage], outcome: Settlement) -> list[Publish]:
        """A retry; or the dead letter when retries are spent, and the callback where one is wanted."""
        message, entry, trace = work.message, outcome.entry, work.trace
        steps = []
        if entry is not None and message.job.wants("attempt"):
            steps.append(_call_back(message, outcome, "attempt", self._vault, trace))
        if outcome.status == "waiting":
            assert entry is not None
            retry = domain.retry_message(message, entry, outcome.eta)
            if trace is not None:
                retry = trace.following(retry, retry=True)
            bucket = largest_within(outcome.eta - outcome.now) or SHORTEST
            lane = lane_key(message.job.priority, proven=work.answered is not False)
            steps.append(
                Publish(DELAY, delayed(lane, bucket), body_of(retry, self._vault), traceparent=retry.traceparent)
            )
            return steps
        if outcome.dead:
            letter = domain.dead_letter(message, entry)
            # Never text of the target's: a header too large breaks dead-lettering. The error is in the body.
            reason = domain.CRASH_LOOP if outcome.reason == domain.CRASH_LOOP else "retries spent"
            steps.append(Publish(DEAD, DEAD_EXECUTE_KEY, body_of(letter, self._vault), {"reason": reason}))
        if message.job.wants(outcome.status):
            steps.append(_call_back(message, outcome, "final", self._vault, trace))
        return steps


def _call_back(
    message: ExecuteMessage,
    outcome: Settlement,
    event: Literal["final", "attempt"],
    vault: Vault,
    trace: AttemptTrace | None,
) -> Publish:
    result = domain.callback_message(
        message,
        outcome.status,
        outcome.now,
        outcome.entry,
        error=outcome.error,
        reason=outcome.reason,
        dead=outcome.dead,
        event=event,
    )
    if trace is not None:
        result = trace.following(result)
    return Publish(WORK, CALLBACK_KEY, body_of(result, vault), traceparent=result.traceparent)
