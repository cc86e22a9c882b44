"""HTTP to domain and back."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.amqp.errors import BrokerError, Unroutable
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.store import Store, StoreUnavailable
from carom_common.contracts.job import Job, encode_job
from carom_common.contracts.message import DEFAULT_TENANT, VERSION, ExecuteMessage, encode
from carom_common.domain.clock import now_ms
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import trace_id, traceparent_from
from carom_common.topology import WORK, execute_key
from carom_intake.auth import require
from carom_intake.domain.documents import Record, seed_document, typed_document
from carom_intake.domain.keys import Scope
from carom_intake.domain.submission import InvalidSubmission, parse_submission
from carom_intake.problems import HttpProblem, unavailable

EXECUTE_KEY = execute_key()
LINGER_BYTES = 8 * 1024 * 1024
LINGER_SECONDS = 2.0

log = get_logger()


class Limits(NamedTuple):
    """Largest sizes in bytes."""

    body: int
    payload: int


class JobRoutes:
    """Submits jobs and shows them."""

    def __init__(self, store: Store, publisher: Publisher, limits: Limits) -> None:
        self._store = store
        self._publisher = publisher
        self._limits = limits

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
        job = await self._job_in(request)
        if not self._publisher.available:
            raise unavailable(f"the message broker is {self._publisher.state}")
        if self._store.state != "ok":
            raise unavailable("the job store is away")
        message = ExecuteMessage(
            version=VERSION,
            tenant=caller.tenant,
            job_id=str(uuid.uuid4()),
            job=job,
            created_at=now_ms(),
            traceparent=traceparent_from(request.headers.get("traceparent")),
        )
        try:
            await self._publisher.publish(WORK, EXECUTE_KEY, encode(message))
            await self._store.record_queued(message, encode_job(job))
        except Unroutable as error:
            raise unavailable("a queue is missing in the message broker") from error
        except BrokerError as error:
            raise unavailable("the message broker did not confirm the job") from error
        except StoreUnavailable as error:
            raise unavailable("the job store did not take the job") from error
        metrics.jobs_submitted.inc()
        metrics.submit_seconds.observe(time.perf_counter() - started)
        log.info(
            "job_accepted",
            job_id=message.job_id,
            request_id=request.scope["request_id"],
            trace_id=trace_id(message.traceparent),
        )
        body = f'{{"jobId":"{message.job_id}","status":"queued","message":"Job accepted for processing"}}'
        return Response(body, 202, {"Location": f"/api/jobs/{message.job_id}"}, "application/json")

    async def show_seed(self, request: Request) -> Response:
        return await self._show(request, seed_document)

    async def show_typed(self, request: Request) -> Response:
        return await self._show(request, typed_document)

    async def _show(self, request: Request, document: Callable[[Record], bytes]) -> Response:
        caller = require(request, Scope.JOBS_READ)
        job_id = request.path_params["job_id"]
        try:
            stored = await self._store.fetch(job_id) if _is_uuid(job_id) else None
        except StoreUnavailable as error:
            raise unavailable("the job store is away") from error
        # Another tenant's job is no job: its id tells nothing.
        if stored is None or stored.state.get("tenant", DEFAULT_TENANT) != caller.tenant:
            raise HttpProblem(404, "no such job: it never existed, or its retention time is over")
        record = Record(job_id, *stored, payloads=caller.may(Scope.PAYLOADS_READ))
        return Response(document(record), media_type="application/json")

    async def _job_in(self, request: Request) -> Job:
        content_type = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            raise HttpProblem(415, f"Content-Type must be application/json, is {content_type or 'missing'}")
        body = await read_body(request, self._limits.body)
        try:
            job = parse_submission(body)
        except InvalidSubmission as error:
            raise HttpProblem(400, "the job is not valid", error.problems) from None
        size = len(memoryview(job.payload))
        if size > self._limits.payload:
            raise HttpProblem(413, f"payload is {size} bytes of JSON, at most {self._limits.payload} are taken")
        return job


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; 413 when it is over the limit."""
    declared = request.headers.get("content-length", "")
    chunks: list[bytes] = []
    size = int(declared) if declared.isdigit() else 0
    stream = request.stream()
    try:
        if size <= limit:
            size = 0
            async for chunk in stream:
                size += len(chunk)
                if size > limit:
                    break
                chunks.append(chunk)
        if size > limit:
            if "expect" not in request.headers:
                await _discard(stream)
            raise HttpProblem(413, f"the body is over {limit} bytes", headers={"Connection": "close"})
    except ClientDisconnect:
        raise HttpProblem(400, "the client went away before the body was complete") from None
    return b"".join(chunks)


async def _discard(stream: AsyncIterator[bytes]) -> None:
    """Take what is on its way: a client that still sends when the connection closes never sees the answer."""
    left = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for chunk in stream:
                left -= len(chunk)
                if left < 0:
                    return


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
