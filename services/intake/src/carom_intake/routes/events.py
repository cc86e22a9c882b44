"""Server-Sent Events: `GET /api/events` (a tenant's) and `GET /api/jobs/{jobId}/events`."""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.records import StoredJob
from carom_common.adapters.store.store import Store
from carom_common.adapters.store.stream import Streams
from carom_common.contracts.job import FINAL_STATUSES, decode_job
from carom_common.domain.happening import CALLBACK_OUTCOMES, Happening, Position
from carom_intake.auth import require
from carom_intake.domain import sse
from carom_intake.domain.keys import Scope
from carom_intake.following import Following
from carom_intake.hub import Hub, HubFull, Subscription
from carom_intake.problems import RETRY_SECONDS, HttpProblem
from carom_intake.reading import stored_job
from carom_intake.sse import HEADERS, EventStream

CHECK_SECONDS = 5.0
"""How often it is asked anew whether a caller may listen."""
_ENDS = FINAL_STATUSES | CALLBACK_OUTCOMES


class _Start(NamedTuple):
    """Where a stream begins; `last` is where the tenant's ends now. `gap`: the event that says what is missing."""

    position: Position
    last: Position
    resumed: bool
    gap: bytes = b""


class EventRoutes:
    """Tells what happens to jobs while it happens. `seconds` is how long one response may go on."""

    def __init__(self, hub: Hub, streams: Streams, store: Store, seconds: float) -> None:
        self._hub = hub
        self._streams = streams
        self._store = store
        self._seconds = seconds

    def routes(self) -> list[Route]:
        return [
            Route("/api/events", self.of_all, methods=["GET"]),
            Route("/api/jobs/{job_id}/events", self.of_job, methods=["GET"]),
        ]

    async def of_all(self, request: Request) -> Response:
        caller = require(request, Scope.JOBS_READ)
        asked = _asked(request, filters=True)
        if request.method == "HEAD":
            return _nothing(200)
        async with contextlib.AsyncExitStack() as held:
            told = await self._subscribe(held, caller.tenant)
            start = await self._start(caller.tenant, asked.after)

            def wanted(happening: Happening) -> bool:
                return not asked.events or happening.what in asked.events

            following = self._following(told, start, wanted)
            source = _while_allowed(request, _of_all(following))
            return EventStream(sse.opening(start.position) + start.gap, source, held.pop_all())

    async def of_job(self, request: Request) -> Response:
        """204, which tells a client not to come back, where it has had everything of a job that is over."""
        caller = require(request, Scope.JOBS_READ)
        asked = _asked(request, filters=False)
        job_id = request.path_params["job_id"]
        if request.method == "HEAD":
            await stored_job(self._store, job_id, caller.tenant)
            return _nothing(200)
        async with contextlib.AsyncExitStack() as held:
            told = await self._subscribe(held, caller.tenant, job_id)
            start = await self._start(caller.tenant, asked.after)
            job = await stored_job(self._store, job_id, caller.tenant)
            if start.gap:
                start = start._replace(position=start.last, resumed=False)
            head = sse.opening(start.position) + start.gap
            following = self._following(told, start, lambda happening: happening.job_id == job_id)
            source = _while_allowed(request, self._of_job(job_id, following, resumed=start.resumed))
            if start.resumed:
                first = await anext(source, b"")
                if not first:
                    if told.closed:
                        raise _full()
                    return _nothing(204)
                return EventStream(head + first, source, held.pop_all())
            head += sse.state_frame(job_id, job.state, _callback(job), start.position)
            return EventStream(head, None if _is_over(job.state) else source, held.pop_all())

    async def _subscribe(self, held: contextlib.AsyncExitStack, tenant: str, job_id: str | None = None) -> Subscription:
        try:
            return await held.enter_async_context(self._hub.subscribe(tenant, job_id))
        except HubFull:
            raise _full() from None

    async def _start(self, tenant: str, after: Position | None) -> _Start:
        span = await self._streams.span(tenant)
        if after is None:
            return _Start(span.last, span.last, resumed=False)
        gap = b"" if span.has_all_after(after) else sse.gap_frame(after, span.first)
        return _Start(min(after, span.last), span.last, resumed=True, gap=gap)

    def _following(self, told: Subscription, start: _Start, wanted: Callable[[Happening], bool]) -> Following:
        until = time.monotonic() + self._seconds
        return Following(self._streams, told, start.position, wanted, until=until, resumed=start.resumed)

    async def _of_job(self, job_id: str, following: Following, *, resumed: bool) -> AsyncGenerator[bytes, None]:
        """Ends with the final event, or where the job calls back with the outcome of that."""
        told_any, told_outcome = not resumed, False
        async with contextlib.aclosing(following.batches()) as batches:
            async for batch in batches:
                if batch:
                    yield b"".join(map(sse.happening_frame, batch))
                    told_any = True
                    told_outcome |= any(happening.what in CALLBACK_OUTCOMES for happening in batch)
                    if not any(happening.what in _ENDS for happening in batch):
                        continue
                state = await self._store.state_of(job_id)
                if state is None:
                    return
                if batch:
                    if _is_over(state) and (told_outcome or state.get("callback", "none") == "none"):
                        return
                elif _is_over(state):
                    if told_any:  # but not that it is over: an event is missing
                        yield sse.state_frame(job_id, state, state.get("callback", "none"), following.position)
                    return
                else:
                    yield sse.heartbeat(following.position)


async def _of_all(following: Following) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(following.batches()) as batches:
        async for batch in batches:
            yield b"".join(map(sse.happening_frame, batch)) or sse.heartbeat(following.position)


async def _while_allowed(request: Request, source: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Ends when the caller's key does: a stream must not outlive it by an hour."""
    checked = time.monotonic()
    async with contextlib.aclosing(source):
        async for chunk in source:
            if time.monotonic() > checked + CHECK_SECONDS:
                checked = time.monotonic()
                try:
                    require(request, Scope.JOBS_READ)
                except HttpProblem:
                    return
            yield chunk


def _asked(request: Request, *, filters: bool) -> sse.Asked:
    header = request.headers.get("last-event-id")
    asked, problems = sse.asked(request.query_params.multi_items(), header, filters=filters)
    if problems:
        text = "; ".join(f"{problem.pointer.lstrip('?')} {problem.detail}" for problem in problems)
        raise HttpProblem(400, f"the stream cannot be given: {text}"[:1000], problems)
    return asked


def _full() -> HttpProblem:
    detail = "this replica has as many event streams as it takes, or is about to stop; try again"
    return HttpProblem(503, detail, headers={"Retry-After": str(RETRY_SECONDS)})


def _nothing(status: int) -> Response:
    return Response(status_code=status, headers=HEADERS, media_type=EventStream.media_type)


def _is_over(state: Mapping[str, str]) -> bool:
    """Nothing more is going to happen by itself."""
    return state["status"] in FINAL_STATUSES and state.get("callback", "none") != "pending"


def _callback(job: StoredJob) -> str:
    wanted = decode_job(job.job).calls_back is not None
    return job.state.get("callback") or ("pending" if wanted else "none")
