"""Callbacks: what the callback service puts into the four steps (carom_common.steps)."""

import time
from collections.abc import Callable, Sequence

from carom_callback import domain
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.client import EgressClient, OutboundRequest
from carom_common.adapters.egress.errors import EgressError
from carom_common.adapters.store.callbacks import Callbacks
from carom_common.adapters.store.transitions import Claim, Renewal
from carom_common.contracts.message import CallbackMessage, body_of, decode_callback
from carom_common.contracts.sealing import Vault
from carom_common.domain.buckets import SHORTEST, largest_within
from carom_common.domain.circuit import tells_presence
from carom_common.domain.clock import now_ms
from carom_common.domain.egress_rules import NO_RULES, EgressRules
from carom_common.domain.signatures import Signer
from carom_common.passes import Place
from carom_common.steps import FourSteps, Publish
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger, sampling
from carom_common.telemetry.trace import sampled_trace, trace_id
from carom_common.telemetry.tracing import Tracer
from carom_common.topology import (
    CALLBACK_KEY,
    DEAD,
    DEAD_CALLBACK_KEY,
    DELAY,
    delayed,
)
from carom_common.work import Work

log = get_logger()

_outcomes = {name: metrics.callbacks.labels(name) for name in ("delivered", "retried", "exhausted", "gone", "refused")}
_callback_seconds = metrics.callback_seconds.labels()
_delivery_seconds = metrics.callback_delivery_seconds.labels()
_given_up = metrics.callbacks_given_up.labels()
_end_to_end_seconds = metrics.end_to_end_seconds.labels()
_refusals = {by: metrics.egress_refusals.labels("callback", by) for by in ("address", "rules")}


def place(message: CallbackMessage) -> Place:
    """What the gate asks of a message."""
    target = message.job.calls_back
    return Place(message.tenant, target.url if target is not None else "", {}, 0)


class CallbackSteps(FourSteps[CallbackMessage, domain.Decision]):
    """The four steps of an attempt to call back."""

    def __init__(
        self,
        callbacks: Callbacks,
        publisher: Publisher,
        egress: EgressClient,
        timeout: float,
        delays: Sequence[float],
        signer: Callable[[str], Signer | None],
        vault: Vault,
        rules: EgressRules = NO_RULES,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(publisher, "callback", tracer)
        self._callbacks = callbacks
        self._egress = egress
        self._timeout = timeout
        self._delays = delays
        self._signer = signer
        self._vault = vault
        self._rules = rules

    def decode(self, body: bytes) -> CallbackMessage:
        return decode_callback(body, self._vault)

    async def claim(self, work: Work[CallbackMessage], *, ask_only: bool = False) -> Claim:
        return await self._callbacks.claim(work.message, work.lease, ask_only=ask_only)

    async def claim_held(self, work: Work[CallbackMessage], reason: str) -> Claim:
        return await self._callbacks.claim(work.message, work.lease, ask_only=True, held=True)

    async def settle(self, work: Work[CallbackMessage], outcome: domain.Decision) -> bool:
        decided = (outcome.status, outcome.eta, outcome.error, outcome.dead)
        return await self._callbacks.settle(work.message, work.lease, *decided)

    def recorded(self, claim: Claim) -> domain.Decision:
        status, eta, error, dead = claim.stored
        wait = max(0, int(eta) - now_ms())
        text = error.decode("utf-8", "replace")
        return domain.Decision(status.decode(), "retried", int(eta), wait, text, dead == b"1")

    async def renew(self, work: Work[CallbackMessage]) -> Renewal:
        return await self._callbacks.renew(work.message, work.lease)

    async def release(self, work: Work[CallbackMessage]) -> None:
        await self._callbacks.release(work.message, work.lease)

    async def call(self, work: Work[CallbackMessage]) -> domain.Decision:
        message, marks = work.message, work.marks
        trace = sampled_trace(message.traceparent)
        if work.crash_loop:
            decision = domain.crash_loop(message)
        else:
            target = message.job.calls_back
            assert target is not None  # or nobody publishes a callback
            body = domain.webhook_body(message)
            headers = domain.webhook_headers(message, body, now_ms() // 1000, self._signer(message.tenant))
            timeout = self._timeout if target.timeout is None else target.timeout / 1000
            rules = self._rules.of(message.tenant)
            hosts = rules.callbacks
            marks.sent = len(body)
            request = OutboundRequest(target.method, target.url, headers, body, timeout, hosts=hosts)
            started = time.perf_counter()
            # Once more, after intake: the job may be older than the rules.
            why = rules.headers.first(target.headers, hosts) if target.headers else None
            decision = await self._send(work, request) if why is None else self._refused(message, why)
            marks.call = time.perf_counter() - started
            _callback_seconds.observe(marks.call, trace)
        _outcomes[decision.outcome].inc()
        if work.trace is not None:
            work.trace.decided(
                decision.outcome,
                "" if marks.status is None else str(marks.status),
                failed=decision.status != "delivered",
                retry_ms=decision.wait if decision.eta else 0,
            )
        if decision.outcome == "retried":
            work.retried()
        elif message.event == "final" and message.callback_generation == 1:
            if decision.outcome == "delivered":
                now = now_ms()
                _delivery_seconds.observe(max(0, now - message.completed_at) / 1000, trace)
                if message.generation == 1:  # who redrives a job did so when they pleased
                    _end_to_end_seconds.observe(max(0, now - message.created_at) / 1000, trace)
            elif decision.outcome != "gone":
                _given_up.inc()
        return decision

    def due(self, work: Work[CallbackMessage]) -> int:
        message = work.message
        if message.eta:
            return message.eta
        return message.completed_at if message.callback_attempt == 1 and message.callback_generation == 1 else 0

    def tell(self, work: Work[CallbackMessage], outcome: domain.Decision) -> None:
        message, marks = work.message, work.marks
        ordinary = outcome.status == "delivered" and marks.published > 0
        if ordinary and not sampling.keeps(message.job_id):
            return
        report = log.info if ordinary else log.warning
        report(
            "callback",
            job_id=message.job_id,
            attempt=message.callback_attempt,
            outcome=outcome.outcome,
            status=marks.status,
            tells=message.event,
            trace_id=trace_id(message.traceparent),
            **self.facts(work),
            **(sampling.told if ordinary else {}),
            **({"error": outcome.error} if outcome.error else {}),
            **({"retry_in_ms": outcome.wait} if outcome.eta else {}),
        )

    def _refused(self, message: CallbackMessage, why: str) -> domain.Decision:
        _refusals["rules"].inc()
        error = f"refused by the egress rules: {why}"
        return domain.judge_failure(message, error, False, self._delays, now_ms())

    async def _send(self, work: Work[CallbackMessage], request: OutboundRequest) -> domain.Decision:
        message, marks, trace = work.message, work.marks, work.trace
        if trace is not None:
            told = self._rules.of(message.tenant).trace_context
            trace.calling(request.method, request.url, request.headers, propagate=told)
        try:
            response = await self._egress.send(request)
        except EgressError as error:
            if error.reason == "refused":
                _refusals[error.by].inc()
            if trace is not None:
                trace.called(None, error.watch.address if error.watch is not None else None, error.reason)
            work.answered = tells_presence(error.reason)
            return domain.judge_failure(message, str(error), error.retryable, self._delays, now_ms())
        work.answered, marks.status, marks.received = True, response.status, len(response.body)
        if trace is not None:
            trace.called(response.status, response.watch.address)
        retry_after = response.headers.get("retry-after")
        return domain.judge_answer(message, response.status, retry_after, self._delays, now_ms())

    def home(self, work: Work[CallbackMessage]) -> str:
        return CALLBACK_KEY

    def next_step(self, work: Work[CallbackMessage], outcome: domain.Decision) -> list[Publish]:
        """A retry, or the dead letter, or nothing once it is delivered or ended by the receiver."""
        message = work.message
        if outcome.status == "pending":
            retry = domain.retry_message(message, outcome.eta)
            if work.trace is not None:
                retry = work.trace.following(retry, retry=True)
            bucket = largest_within(outcome.wait) or SHORTEST
            key = delayed(CALLBACK_KEY, bucket)
            return [Publish(DELAY, key, body_of(retry, self._vault), traceparent=retry.traceparent)]
        if outcome.dead:
            return [Publish(DEAD, DEAD_CALLBACK_KEY, body_of(message, self._vault), {"reason": outcome.error[:500]})]
        return []
