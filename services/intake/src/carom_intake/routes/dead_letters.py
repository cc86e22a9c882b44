"""`/api/dead-letters`: jobs whose retries, or whose callback's, are spent; looked at, redriven or let go one by one."""

from typing import Literal, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.acts import Act, Acted
from carom_common.adapters.store.queries import Queries
from carom_common.adapters.store.store import Store
from carom_common.domain.filters import DeadKind, in_dead_letters
from carom_intake.acting import Actor
from carom_intake.answers import json_answer
from carom_intake.audit import Auditor
from carom_intake.auth import Caller, require
from carom_intake.domain.audit import AuditAct
from carom_intake.domain.checks import Problem
from carom_intake.domain.documents import Record, typed_document
from carom_intake.domain.keys import Scope
from carom_intake.problems import HttpProblem
from carom_intake.reading import refuse_parameters, stored_job
from carom_intake.routes.acts import document_of, perform, runs_again
from carom_intake.routes.lists import list_response, page_of, query_of

KINDS: tuple[DeadKind, ...] = ("execute", "callback")
NOT_DEAD = "no such dead letter: the job is not among them, or its retention time is over"


class DeadLetterRoutes:
    """Shows dead letters, and takes them out again."""

    def __init__(self, store: Store, queries: Queries, actor: Actor, audit: Auditor) -> None:
        self._store = store
        self._queries = queries
        self._actor = actor
        self._audit = audit

    def routes(self) -> list[Route]:
        return [
            Route("/api/dead-letters", self.list_letters, methods=["GET"]),
            Route("/api/dead-letters/{job_id}", self.show, methods=["GET"]),
            Route("/api/dead-letters/{job_id}", self.forget, methods=["DELETE"]),
            Route("/api/dead-letters/{job_id}/redrive", self.redrive, methods=["POST"]),
        ]

    async def list_letters(self, request: Request) -> Response:
        """Those of one kind (default: execute), newest first, with the filters of `GET /api/jobs`."""
        caller = require(request, Scope.JOBS_READ)
        query = query_of(request, ("kind",))
        kind = _kind_in(request) or "execute"
        return list_response("deadLetters", await page_of(self._queries, caller.tenant, query, kind))

    async def show(self, request: Request) -> Response:
        """The job, and in which ways it is dead."""
        caller = require(request, Scope.JOBS_READ)
        refuse_parameters(request)
        job_id = request.path_params["job_id"]
        stored = await stored_job(self._store, job_id, caller.tenant)
        kinds = [kind for kind in KINDS if in_dead_letters(kind, stored.state)]
        if not kinds:
            raise HttpProblem(404, NOT_DEAD)
        job = typed_document(Record(job_id, *stored, payloads=caller.may(Scope.PAYLOADS_READ)))
        return json_answer({"jobId": job_id, "kinds": kinds, "job": msgspec.Raw(job)})

    async def redrive(self, request: Request) -> Response:
        """202: the job runs again with all its retries, or its callback goes out again, under the same webhook-id."""
        caller = require(request, Scope.OPERATE)
        acted = await perform(self._actor, await self._act(request, "redrive", caller.tenant), request, caller)
        self._tell(request, caller, AuditAct.DEAD_LETTER_REDRIVEN, acted)
        return runs_again(acted)

    async def forget(self, request: Request) -> Response:
        """200: it is no dead letter any more; the job is kept for the usual time."""
        caller = require(request, Scope.OPERATE)
        acted = await perform(self._actor, await self._act(request, "forget", caller.tenant), request, caller)
        self._tell(request, caller, AuditAct.DEAD_LETTER_FORGOTTEN, acted)
        return Response(document_of(acted, caller), media_type="application/json")

    def _tell(self, request: Request, caller: Caller, act: AuditAct, acted: Acted) -> None:
        self._audit.tell(request, caller, act, acted.job_id, 1, acted.act)

    async def _act(self, request: Request, verb: Literal["redrive", "forget"], tenant: str) -> Act:
        refuse_parameters(request, "kind")
        kind = _kind_in(request)
        if kind is None:
            state = (await stored_job(self._store, request.path_params["job_id"], tenant)).state
            kinds = [kind for kind in KINDS if in_dead_letters(kind, state)]
            if len(kinds) > 1:
                detail = "the job is dead in both ways; say ?kind=execute or ?kind=callback"
                raise HttpProblem(409, detail, reason="kind")
            # One that is not dead may have been redriven by a request whose answer was lost.
            owed = state.get("owed", "").partition(" ")[0]
            kind = cast(DeadKind, kinds[0] if kinds else owed or "execute")
        return cast(Act, f"{verb}-{kind}")


def _kind_in(request: Request) -> DeadKind | None:
    given = request.query_params.getlist("kind")
    if not given:
        return None
    if len(given) > 1 or given[0] not in KINDS:
        problem = Problem("?kind", f"must be one of {', '.join(KINDS)}")
        raise HttpProblem(400, f"the query is not valid: kind {problem.detail}", [problem])
    return given[0]
