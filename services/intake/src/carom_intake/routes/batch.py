"""`POST /api/jobs/batch`: many jobs in one request, an answer for each."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.contracts.message import ExecuteMessage
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger, sampling
from carom_common.telemetry.marks import ms
from carom_common.telemetry.trace import sampled_trace, trace_id
from carom_intake.accepting import Acceptor, Took, message_of, submission_in
from carom_intake.auth import require
from carom_intake.domain.batch import parse_batch, within
from carom_intake.domain.checks import Problem
from carom_intake.domain.keys import Scope
from carom_intake.domain.submission import InvalidSubmission, Submission, bounded
from carom_intake.middleware import traceparent_of
from carom_intake.once import Given, Once, idempotency_key
from carom_intake.problems import HttpProblem, problem_document, unavailable
from carom_intake.reading import Limits, read_json_body

BODIES, AT_WORK = 8, 2
"""Batches that a process has in memory, each with up to 16 MiB, and of them those that it works on."""
WAIT_SECONDS = 10.0
"""For a turn."""
READ_SECONDS = 30.0
"""For a body: who sends more slowly than that would keep others from their turn."""
WORKERS = 128
PROBLEMS_SHOWN = 10
PARSED_AT_A_TIME = 50

log = get_logger()
_encode = msgspec.json.Encoder().encode


class Read(NamedTuple):
    """The jobs of a batch in order: valid, or what is wrong."""

    jobs: list[Submission | HttpProblem]

    @property
    def valid(self) -> int:
        return sum(isinstance(job, Submission) for job in self.jobs)


class BatchRoutes:
    """Accepts batches."""

    def __init__(self, acceptor: Acceptor, once: Once, limits: Limits) -> None:
        self._acceptor = acceptor
        self._once = once
        self._limits = limits
        self._bodies, self._work = asyncio.Semaphore(BODIES), asyncio.Semaphore(AT_WORK)

    def routes(self) -> list[Route]:
        return [Route("/api/jobs/batch", self.submit, methods=["POST"])]

    async def submit(self, request: Request) -> Response:
        """207 with an entry for each job in order; with `atomic`, 400 for all when one is not valid."""
        caller = require(request, Scope.JOBS_WRITE)
        key = idempotency_key(request)
        async with _turn(self._bodies):
            body = await self._body_of(request)
            async with _turn(self._work):
                return await self._submit(request, caller.tenant, key, body)

    async def _body_of(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await read_json_body(request, self._limits.batch)
        except TimeoutError:
            detail = f"the body was not complete after {READ_SECONDS:.0f} s"
            raise HttpProblem(408, detail, headers={"Connection": "close"}) from None

    async def _submit(self, request: Request, tenant: str, key: str | None, body: bytes) -> Response:
        started = time.perf_counter()
        traceparent = traceparent_of(request)
        ids: list[str] = []
        statuses: list[int] = []
        slowest = Took(0, 0)

        async def parse(now: int) -> Read:
            return await self._read(body, now, tenant)

        async def act(read: Read, base: str, now: int) -> Given:
            if read.valid:
                self._acceptor.check_open(tenant, len(body), read.valid)
            nonlocal ids, statuses, slowest
            ids = [str(uuid.uuid5(uuid.UUID(base), str(index))) for index in range(len(read.jobs))]
            outcomes, slowest = await self._accept_all(read, ids, tenant, now, traceparent)
            entries = [_entry(request, n, ids[n], problem) for n, problem in enumerate(outcomes)]
            statuses = [entry["status"] for entry in entries]
            for status in statuses:
                if status != 202:
                    metrics.submissions_refused.labels(str(status)).inc()
            metrics.jobs_submitted.inc(statuses.count(202))
            return Given(_encode({"jobs": entries}), 503 not in statuses)

        answer = await self._once.answer(tenant, key, request.url.path, body, parse, act)
        seconds = time.perf_counter() - started
        metrics.submit_seconds.observe(seconds, sampled_trace(traceparent))
        if answer.replayed:
            metrics.submissions_replayed.inc()
        ordinary = statuses.count(202) == len(statuses)
        if not ordinary or sampling.keeps(answer.job_id):
            log.info(
                "batch_accepted",
                jobs=len(statuses),
                accepted=statuses.count(202),
                unconfirmed=statuses.count(503),
                first_job_id=ids[0] if ids else None,
                tenant=tenant,
                request_id=request.scope["request_id"],
                trace_id=trace_id(traceparent),
                replayed=answer.replayed,
                request_bytes=len(body),
                duration_ms=ms(seconds),
                publish_ms=ms(slowest.publish),
                record_ms=ms(slowest.record),
                **(sampling.told if ordinary else {}),
            )
        return Response(answer.body, 207, answer.headers, "application/json")

    async def _read(self, body: bytes, now: int, tenant: str) -> Read:
        try:
            batch = parse_batch(body)
        except InvalidSubmission as error:
            raise HttpProblem(400, "the batch is not valid", error.problems) from None
        jobs: list[Submission | HttpProblem] = []
        for index, text in enumerate(batch.jobs):
            if index % PARSED_AT_A_TIME == PARSED_AT_A_TIME - 1:
                await asyncio.sleep(0)  # other requests do not wait for the whole batch
            try:
                jobs.append(submission_in(text, now, self._limits, tenant))
            except HttpProblem as problem:
                problem.errors = within(index, list(problem.errors))
                jobs.append(problem)
        if batch.atomic and (refused := [job for job in jobs if isinstance(job, HttpProblem)]):
            raise _refusal(jobs, refused)
        return Read(jobs)

    async def _accept_all(
        self, read: Read, ids: list[str], tenant: str, now: int, traceparent: str
    ) -> tuple[list[HttpProblem | None], Took]:
        """Accept what is valid, many at a time; what became of each, and how long the slowest of them took."""
        publish = record = 0.0
        outcomes: list[HttpProblem | None] = [job if isinstance(job, HttpProblem) else None for job in read.jobs]

        def messages() -> Iterator[tuple[int, ExecuteMessage]]:
            for index, job in enumerate(read.jobs):
                if isinstance(job, Submission):
                    yield index, message_of(job, tenant, ids[index], now, traceparent)

        todo = messages()

        async def worker() -> None:
            nonlocal publish, record
            for index, message in todo:
                try:
                    took = await self._acceptor.accept(message)
                    publish, record = max(publish, took.publish), max(record, took.record)
                except HttpProblem as problem:
                    outcomes[index] = problem

        async with asyncio.TaskGroup() as group:
            for _ in range(min(WORKERS, read.valid)):
                group.create_task(worker())
        return outcomes, Took(publish, record)


@contextlib.asynccontextmanager
async def _turn(slots: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of the slots, or 503 when none is free in time."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await slots.acquire()
    except TimeoutError:
        raise unavailable("too many batches are under way") from None
    try:
        yield
    finally:
        slots.release()


def _refusal(jobs: list[Submission | HttpProblem], refused: list[HttpProblem]) -> HttpProblem:
    """Why an atomic batch is refused: the problems of every job that is not valid."""
    problems: list[Problem] = []
    for index, job in enumerate(jobs):
        if isinstance(job, HttpProblem):
            problems += job.errors or [Problem(f"/jobs/{index}", job.detail)]
    detail = f"{len(refused)} of {len(jobs)} jobs are not valid, so none was accepted"
    return HttpProblem(400, detail, bounded(problems))


def _entry(request: Request, index: int, job_id: str, problem: HttpProblem | None) -> dict[str, Any]:
    if problem is None:
        return {"index": index, "status": 202, "jobId": job_id}
    problem.errors = problem.errors[:PROBLEMS_SHOWN]
    return {"index": index, "status": problem.status, "error": problem_document(problem, request)}
