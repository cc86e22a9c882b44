"""`GET /api/audit`: the administrative acts of a tenant, newest first."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.audit import AuditLog
from carom_intake.answers import json_answer
from carom_intake.auth import require
from carom_intake.domain.audit import decode_entry, entry_document, is_place
from carom_intake.domain.checks import Problem
from carom_intake.domain.keys import Scope
from carom_intake.domain.operating import parse_page
from carom_intake.domain.submission import InvalidSubmission
from carom_intake.problems import HttpProblem
from carom_intake.tenancy import Tenancy


class AuditRoutes:
    """Shows who did what. The stream is bounded; the log has what is older."""

    def __init__(self, store: AuditLog, tenancy: Tenancy) -> None:
        self._store = store
        self._tenancy = tenancy

    def routes(self) -> list[Route]:
        return [Route("/api/audit", self.list_all, methods=["GET"])]

    async def list_all(self, request: Request) -> Response:
        caller = require(request, Scope.ADMIN)
        tenant, others = self._tenancy.asked(request, caller)
        try:
            limit, cursor = parse_page(others)
            if cursor and not is_place(cursor):
                raise InvalidSubmission([Problem("?cursor", "is not one that this list gave")])
        except InvalidSubmission as error:
            raise HttpProblem(400, "the query is not valid", error.problems) from None
        found = await self._store.before(tenant, cursor, limit + 1)
        shown = found[:limit]
        document = {
            "entries": [entry_document(logged.place, decode_entry(logged.entry)) for logged in shown],
            "nextCursor": shown[-1].place if len(found) > limit else None,
        }
        return json_answer(document)
