"""HTTP to domain and back."""

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.store import Store
from carom_common.contracts.message import ExecuteMessage
from carom_common.control import Control
from carom_common.domain.clock import now_ms
from carom_common.domain.filters import decode_head
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger, sampling
from carom_common.telemetry.marks import ms
from carom_common.telemetry.trace import sampled_trace, trace_id
from carom_intake.accepting import Acceptor, Took, message_of, submission_in
from carom_intake.auth import Caller, require
from carom_intake.domain.documents import Record, seed_document, typed_document
from carom_intake.domain.keys import Scope
from carom_intake.domain.prefer import wait_seconds
from carom_intake.domain.submission import Submission
from carom_intake.domain.waits import with_pause
from carom_intake.explaining import Explainer
from carom_intake.middleware import traceparent_of
from carom_intake.once import Given, Once, idempotency_key
from carom_intake.reading import Limits, flag_in, read_json_body, refuse_parameters, stored_job
from carom_intake.waiting import Waiting

log = get_logger()

_submitted = metrics.jobs_submitted.labels()
_submit_seconds = metrics.submit_seconds.labels()


class JobRoutes:
    """Submits jobs and shows them."""

    def __init__(
        self,
        store: Store,
        acceptor: Acceptor,
        once: Once,
        limits: Limits,
        waiting: Waiting,
        control: Control,
        explainer: Explainer,
    ) -> None:
        self._store = store
        self._acceptor = acceptor
        self._once = once
        self._limits = limits
        self._waiting = waiting
        self._control = control
        self._explainer = explainer

    def routes(self) -> list[Route]:
        return [
            Route("/api/jobs", self.submit, methods=["POST"]),
            Route("/api/jobs/{job_id}", self.show_typed, methods=["GET"]),
            Route("/api/job/{job_id}", self.show_seed, methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        """Publish with confirm, record, then 202: never a 202 without a confirm."""
        started = time.perf_counter()
        caller = require(request, Scope.JOBS_WRITE)
        key = idempotency_key(request)
        body = await read_json_body(request, self._limits.body)
        traceparent = traceparent_of(request)
        message: ExecuteMessage | None = None
        took: Took | None = None

        async def parse(now: int) -> Submission:
            return submission_in(body, now, self._limits, caller.tenant)

        async def accept(submission: Submission, job_id: str, now: int) -> Given:
            nonlocal message, took
            self._acceptor.check_open(caller.tenant, len(body))
            message = message_of(submission, caller.tenant, job_id, now, traceparent)
            took = await self._acceptor.accept(message)
            _submitted.inc()
            status = "scheduled" if message.eta else "queued"
            answer = f'{{"jobId":"{job_id}","status":"{status}","message":"Job accepted for processing"}}'
            return Given(answer.encode(), last=True)

        answer = await self._once.answer(caller.tenant, key, "/api/jobs", body, parse, accept)
        seconds = time.perf_counter() - started
        _submit_seconds.observe(seconds, sampled_trace(traceparent))
        if answer.replayed:
            metrics.submissions_replayed.inc()
        if sampling.keeps(answer.job_id):
            log.info(
                "job_accepted",
                job_id=answer.job_id,
                tenant=caller.tenant,
                key_id=caller.key_id,
                request_id=request.scope["request_id"],
                trace_id=trace_id(traceparent),
                replayed=answer.replayed,
                priority=message.job.priority if message is not None else None,
                delay_ms=message.eta - message.created_at if message is not None and message.eta else 0,
                request_bytes=len(body),
                wait_s=wait_seconds(request.headers.getlist("prefer")),
                duration_ms=ms(seconds),
                publish_ms=ms(took.publish) if took is not None else None,
                record_ms=ms(took.record) if took is not None else None,
                **sampling.told,
            )
        headers = {"Location": f"/api/jobs/{answer.job_id}", **answer.headers}
        accepted = Response(answer.body, 202, headers, "application/json")
        return await self._waiting.answer(request, caller, answer.job_id, accepted)

    async def show_seed(self, request: Request) -> Response:
        return await self._show(request, seed_document)

    async def show_typed(self, request: Request) -> Response:
        caller = require(request, Scope.JOBS_READ)
        refuse_parameters(request, "explain")
        if flag_in(request, "explain"):
            document = await self._explainer.document(request.path_params["job_id"], caller)
            return Response(document, media_type="application/json")
        return await self._show(request, typed_document, caller)

    async def _show(
        self, request: Request, document: Callable[[Record], bytes], caller: Caller | None = None
    ) -> Response:
        caller = caller or require(request, Scope.JOBS_READ)
        stored = await stored_job(self._store, request.path_params["job_id"], caller.tenant)
        if self._control.pauses:
            state = with_pause(stored.state, decode_head(stored.job), caller.tenant, self._control.pauses, now_ms())
            stored = stored._replace(state=state)
        record = Record(request.path_params["job_id"], *stored, payloads=caller.may(Scope.PAYLOADS_READ))
        return Response(document(record), media_type="application/json")
