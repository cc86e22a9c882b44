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
from carom_common.telemetry.logging import get_logger, sampling
from carom_common.telemetry.trace import sampled_trace, trace_id
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
_attempt_seconds = metrics.attempt_seconds.labels()
_job_attempts = metrics.job_attempts.labels()
_refusals = {by: metrics.egress_refusals.labels("execute", by) for by in ("address", "rules")}
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
        message, marks = work.message, work.marks
        now = now_ms()
        if work.crash_loop:
            decision = domain.crash_loop(message, now)
        elif domain.has_expired(message, now):
            decision = domain.expired(message)
        else:
            trace = sampled_trace(message.traceparent)
            if message.eta:
                metrics.lateness_seconds.observe(max(0, now - message.eta) / 1000, trace)
            started = time.perf_counter()
            result = await self._send(work, now)
            if isinstance(result, domain.NoResponse):
                work.answered = tells_presence(result.reason)
            else:
                work.answered, marks.status, marks.received = True, result.status, len(result.body)
            marks.call = time.perf_counter() - started
            _attempt_seconds.observe(marks.call, trace)
            began, now = now, now_ms()
            if domain.cut_off(message, result, began):
                work.answered = None  # who had less time than was asked for may be there all the same
                now = max(now, message.expires)  # the timer may fire a moment early
            decision = domain.decide(message, result, now, int(marks.call * 1000))
        self._count(work, decision, now)
        if work.trace is not None:
            outcome = _outcome(decision)
            retry = decision.eta - now if decision.eta else 0
            work.trace.decided(outcome, decision.reason, failed=outcome != "completed", retry_ms=retry)
        return Settlement(
            decision.status, now, decision.eta, decision.error, decision.dead, decision.reason, decision.entry
        )

    async def _send(self, work: Work[ExecuteMessage], now: int) -> domain.Response | domain.NoResponse:
        message, marks, trace = work.message, work.marks, work.trace
        job = message.job
        rules = self._rules.of(message.tenant)
        # Once more, after intake: the job may be older than the rules.
        if job.headers and (why := rules.headers.first(job.headers, rules.targets)) is not None:
            _refusals["rules"].inc()
            return domain.NoResponse("refused", False, f"refused by the egress rules: {why}")
        headers, body = outgoing_headers(job, message.job_id, message.attempt), outgoing_body(job)
        if job.sign:
            signer = self._signer(message.tenant)
            if signer is None:
                return domain.UNSIGNABLE
            headers |= signer.headers(message.job_id, now_ms() // 1000, body or b"")
        marks.sent = len(body) if body is not None else 0
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
            if error.reason == "refused":
                _refusals[error.by].inc()
            if trace is not None:
                trace.called(None, error.watch.address if error.watch is not None else None, error.reason)
            detail = detail_of(error.watch.timing(), error.watch.address) if error.watch is not None else None
            return domain.NoResponse(error.reason, error.retryable, str(error), detail)
        if trace is not None:
            trace.called(response.status, response.watch.address)
        detail = detail_of(response.watch.timing(), response.watch.address, response.headers)
        return domain.Response(response.status, response.headers, response.body, response.truncated, detail)

    def _count(self, work: Work[ExecuteMessage], decision: domain.Decision, now: int) -> None:
        message = work.message
        _outcomes[_outcome(decision)].inc()
        if decision.status == "waiting":
            metrics.retries.labels(decision.reason).inc()
            work.retried()
            return
        _job_attempts.observe(message.attempt)
        took = max(0, now - message.created_at) / 1000
        _job_seconds[decision.status].observe(took, sampled_trace(message.traceparent))
        if decision.status != "completed":
            metrics.job_failures.labels(decision.reason).inc()

    def due(self, work: Work[ExecuteMessage]) -> int:
        message = work.message
        if message.eta:
            return message.eta
        return message.created_at if message.attempt == 1 and message.generation == 1 else 0

    def tell(self, work: Work[ExecuteMessage], outcome: Settlement) -> None:
        message, marks = work.message, work.marks
        ordinary = outcome.status == "completed" and marks.published > 0
        if ordinary and not sampling.keeps(message.job_id):
            return
        report = log.info if ordinary else log.warning
        report(
            "attempt",
            job_id=message.job_id,
            attempt=message.attempt,
            outcome=_outcome(outcome),
            status=marks.status,
            priority=message.job.priority,
            trace_id=trace_id(message.traceparent),
            **self.facts(work),
            **(sampling.told if ordinary else {}),
            **({"reason": outcome.reason} if outcome.reason else {}),
            # With a response the status says it; the text may quote its Location header, as may that of an expiry.
            **({"error": outcome.entry.error} if outcome.entry is not None and marks.status is None else {}),
            **({"retry_in_ms": outcome.eta - outcome.now} if outcome.eta else {}),
        )

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


def _outcome(decided: domain.Decision | Settlement) -> str:
    if decided.status == "waiting":
        return "retried"
    return "exhausted" if decided.dead else decided.status


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
