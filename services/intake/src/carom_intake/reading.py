"""Reading requests, and the records that they name, the same way in every route."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import NamedTuple

from starlette.requests import ClientDisconnect, Request

from carom_common.adapters.store.records import StoredJob
from carom_common.adapters.store.store import Store
from carom_common.contracts.message import DEFAULT_TENANT
from carom_common.domain.outbound import ANYTHING, Outbound
from carom_intake.domain.checks import Problem, unknown_parameter
from carom_intake.problems import HttpProblem

LINGER_BYTES = 32 * 1024 * 1024
LINGER_SECONDS = 2.0


class Limits(NamedTuple):
    """Largest sizes in bytes, and what may be called."""

    body: int
    payload: int
    batch: int
    """The body of a batch."""
    outbound: Outbound = ANYTHING


async def stored_job(store: Store, job_id: str, tenant: str) -> StoredJob:
    """The record of a tenant's job, or 404. Another tenant's job is no job: its id tells nothing."""
    stored = await store.fetch(job_id) if is_uuid(job_id) else None
    if stored is None or stored.state.get("tenant", DEFAULT_TENANT) != tenant:
        raise no_such_job()
    return stored


def no_such_job() -> HttpProblem:
    return HttpProblem(404, "no such job: it never existed, or its retention time is over")


def refuse_parameters(request: Request, *known: str) -> None:
    """400 for a query parameter that the route does not know."""
    for name in request.query_params:
        if name not in known:
            problem = unknown_parameter(name, known)
            raise HttpProblem(400, f"the query is not valid: {name[:100]} {problem.detail}", [problem])


def flag_in(request: Request, name: str) -> bool:
    """`?name=true`; false where it is not given, 400 for anything but true or false, given once."""
    given = request.query_params.getlist(name)
    if not given:
        return False
    if len(given) > 1 or given[0] not in ("true", "false"):
        problem = Problem(f"?{name}", "must be true or false")
        raise HttpProblem(400, f"the query is not valid: {name} {problem.detail}", [problem])
    return given[0] == "true"


async def read_json_body(request: Request, limit: int) -> bytes:
    """The body of a request that must say it is JSON: 415 when it does not, 413 when it is over the limit."""
    content_type = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise HttpProblem(415, f"Content-Type must be application/json, is {content_type or 'missing'}")
    return await read_body(request, limit)


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


def is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
