"""Waiting for a job to be finished, for who prefers that to a 202."""

import asyncio
import time
from collections.abc import Awaitable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from carom_common.adapters.store.records import StoredJob
from carom_common.adapters.store.store import Store, StoreUnavailable
from carom_common.contracts.job import FINAL_STATUSES
from carom_common.contracts.sealing import Unsealable
from carom_intake.auth import Caller
from carom_intake.domain.documents import Record, typed_document
from carom_intake.domain.keys import Scope
from carom_intake.domain.prefer import wait_seconds
from carom_intake.hub import Hub, HubFull, Subscription
from carom_intake.sse import disconnected


class Waited(NamedTuple):
    """How a wait ended: `job` where it is final. Not `applied`: too many wait, or the store is away."""

    applied: bool
    job: StoredJob | None = None


async def await_final(
    hub: Hub, store: Store, tenant: str, job_id: str, seconds: float, gone: Awaitable[None] | None = None
) -> Waited:
    """Wait until a job of a tenant is final, so many seconds at most, or until `gone` (the client) is done.

    Sleeps until the hub tells; looks at the record before and after, in case that an event is missing.
    """
    deadline = time.monotonic() + seconds
    leaving = asyncio.ensure_future(gone) if gone is not None else None
    try:
        async with hub.subscribe(tenant, job_id) as told:
            if leaving is not None:
                leaving.add_done_callback(lambda _: told.close())
            while True:
                job = await _final(store, job_id)
                if job is not None or told.closed or time.monotonic() >= deadline:
                    return Waited(True, job)
                await _told_final(told, deadline)
    except (HubFull, StoreUnavailable, Unsealable):  # the job is accepted, come what may
        return Waited(False)
    finally:
        if leaving is not None:
            leaving.cancel()


async def _told_final(told: Subscription, deadline: float) -> None:
    """Until the job may be final, or the deadline, or the end of the subscription."""
    while not told.closed and (left := deadline - time.monotonic()) > 0:
        await told.wait(left)
        behind = told.behind
        if behind:
            told.catch_up()
        if behind or any(happening.what in FINAL_STATUSES for happening in told.take()):
            return


async def _final(store: Store, job_id: str) -> StoredJob | None:
    state = await store.state_of(job_id)
    if state is None or state["status"] not in FINAL_STATUSES:
        return None
    job = await store.fetch(job_id)
    return job if job is not None and job.state["status"] in FINAL_STATUSES else None


class Waiting:
    """`Prefer: wait=N` for a submission that was accepted."""

    def __init__(self, hub: Hub, store: Store) -> None:
        self._hub = hub
        self._store = store

    async def answer(self, request: Request, caller: Caller, job_id: str, accepted: Response) -> Response:
        """200 with the finished job where the client would wait for it and it came in time, else `accepted`."""
        seconds = wait_seconds(request.headers.getlist("prefer"))
        if seconds == 0 or not caller.may(Scope.JOBS_READ):
            return accepted
        gone = disconnected(request.receive)
        waited = await await_final(self._hub, self._store, caller.tenant, job_id, seconds, gone)
        answer = accepted
        if waited.job is not None:
            record = Record(job_id, *waited.job, payloads=caller.may(Scope.PAYLOADS_READ))
            answer = Response(typed_document(record), 200, media_type="application/json")
            for name, value in accepted.headers.items():
                if name not in ("content-length", "content-type"):
                    answer.headers[name] = value
        if waited.applied:
            answer.headers["Preference-Applied"] = f"wait={seconds}"
        return answer
