"""`GET /api/jobs`: lists of jobs, newest first."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.queries import Page, Queries
from carom_common.control import Control
from carom_common.domain.clock import now_ms
from carom_common.domain.cursor import BadCursor
from carom_common.domain.filters import DeadKind
from carom_intake.answers import json_answer
from carom_intake.auth import require
from carom_intake.domain.checks import Problem
from carom_intake.domain.keys import Scope
from carom_intake.domain.listing import BadFilter, Query, parse_query, summary_document
from carom_intake.domain.waits import with_pause
from carom_intake.problems import HttpProblem


class ListRoutes:
    """Shows which jobs there are."""

    def __init__(self, queries: Queries, control: Control) -> None:
        self._queries = queries
        self._control = control

    def routes(self) -> list[Route]:
        return [Route("/api/jobs", self.list_jobs, methods=["GET"])]

    async def list_jobs(self, request: Request) -> Response:
        caller = require(request, Scope.JOBS_READ)
        query = query_of(request)
        page = await page_of(self._queries, caller.tenant, query)
        if pauses := self._control.pauses:
            now = now_ms()
            jobs = [
                each._replace(state=with_pause(each.state, each.job, caller.tenant, pauses, now)) for each in page.jobs
            ]
            page = page._replace(jobs=jobs)
        return list_response("jobs", page)


def query_of(request: Request, extra: Sequence[str] = ()) -> Query:
    """What a list is asked for, or 400; `extra` are parameters that the route reads itself."""
    try:
        return parse_query(request.query_params.multi_items(), extra)
    except BadFilter as error:
        raise HttpProblem(400, f"the query is not valid: {error}"[:1000], error.problems) from None


async def page_of(queries: Queries, tenant: str, query: Query, kind: DeadKind | None = None) -> Page:
    """A page of jobs (`kind`: of dead letters), 400 for a bad cursor, 503 when the store is away."""
    wanted = query.filter if kind is None else msgspec.structs.replace(query.filter, kind=kind)
    try:
        return await queries.page(tenant, wanted, query.cursor, query.limit)
    except BadCursor as error:
        problem = Problem("?cursor", str(error))
        raise HttpProblem(400, f"the query is not valid: cursor {error}", [problem]) from None


def list_response(name: str, page: Page) -> Response:
    document: dict[str, Any] = {
        name: [summary_document(*listed) for listed in page.jobs],
        "nextCursor": page.next_cursor,
    }
    return json_answer(document)
