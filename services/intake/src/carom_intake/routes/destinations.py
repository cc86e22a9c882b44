"""`/api/destinations`: limits and circuits of hosts, for all who call them."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.control import MAX_RULES, ControlStore
from carom_common.domain.rules import RuleBook, encode_rule, parse_host
from carom_common.telemetry.logging import get_logger
from carom_intake.answers import json_answer
from carom_intake.audit import Auditor
from carom_intake.auth import require
from carom_intake.domain.audit import AuditAct
from carom_intake.domain.checks import Problem
from carom_intake.domain.keys import Scope
from carom_intake.domain.operating import limits_document, live_document, parse_page, parse_rule
from carom_intake.domain.submission import InvalidSubmission
from carom_intake.problems import HttpProblem
from carom_intake.reading import read_json_body

MAX_BODY = 4096

log = get_logger()


class DestinationRoutes:
    """Shows and sets the rules of destinations; those of the API win over the configured ones."""

    def __init__(self, store: ControlStore, book: RuleBook, audit: Auditor) -> None:
        self._store = store
        self._audit = audit
        self._book = book

    def routes(self) -> list[Route]:
        return [
            Route("/api/destinations", self.list_all, methods=["GET"]),
            Route("/api/destinations/{host}", self.show, methods=["GET"]),
            Route("/api/destinations/{host}", self.put, methods=["PUT"]),
            Route("/api/destinations/{host}", self.drop, methods=["DELETE"]),
        ]

    async def list_all(self, request: Request) -> Response:
        """The destinations that have rules, in the order of their names."""
        require(request, Scope.OPERATE)
        try:
            limit, cursor = parse_page(request.query_params.multi_items())
        except InvalidSubmission as error:
            raise HttpProblem(400, "the query is not valid", error.problems) from None
        book = await self._current()
        names = sorted(name for name in {*book.configured, *book.set} if name > cursor)
        shown = names[:limit]
        document = {
            "destinations": [limits_document(name, book) for name in shown],
            "nextCursor": shown[-1] if len(names) > limit else None,
        }
        return json_answer(document)

    async def show(self, request: Request) -> Response:
        caller = require(request, Scope.OPERATE)
        host = _host_in(request)
        return await self._show(host, caller.tenant)

    async def put(self, request: Request) -> Response:
        caller = require(request, Scope.OPERATE)
        host = _host_in(request)
        try:
            rule = parse_rule(await read_json_body(request, MAX_BODY))
        except InvalidSubmission as error:
            raise HttpProblem(400, "the rule is not valid", error.problems) from None
        book = await self._current()
        if len(book.set) >= MAX_RULES and host not in book.set:
            raise HttpProblem(409, f"{MAX_RULES} destinations have rules already; no more are kept")
        await self._store.set_rule(host, rule)
        log.info("destination_set", host=host, request_id=request.scope["request_id"])
        self._audit.tell(request, caller, AuditAct.DESTINATION_SET, host, detail=encode_rule(rule).decode())
        return await self._show(host, caller.tenant)

    async def drop(self, request: Request) -> Response:
        """Back to what is configured, or to the defaults."""
        caller = require(request, Scope.OPERATE)
        host = _host_in(request)
        await self._store.drop_rule(host)
        log.info("destination_reset", host=host, request_id=request.scope["request_id"])
        self._audit.tell(request, caller, AuditAct.DESTINATION_RESET, host)
        return Response(status_code=204)

    async def _show(self, host: str, tenant: str) -> Response:
        book = await self._current()
        live = await self._store.live(host)
        waiting = await self._store.held_for(host, tenant)
        return json_answer(live_document(limits_document(host, book), live.permits, waiting, live.opened_ago))

    async def _current(self) -> RuleBook:
        book = RuleBook(self._book.default, self._book.configured)
        book.set = await self._store.rules()
        return book


def _host_in(request: Request) -> str:
    host: str = request.path_params["host"]
    try:
        return parse_host(host)
    except ValueError as error:
        problem = Problem("{host}", f"{error}, is {host[:100]!r}")
        raise HttpProblem(400, "the destination is not valid", [problem]) from None
