"""`/api/pause`, `/api/resume`, `/api/pauses`: holding the execution of a tenant's jobs. Callbacks go on."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.control import MAX_PAUSES, ControlStore
from carom_common.domain.clock import now_ms
from carom_common.domain.pauses import Pause, Selector, pause_id
from carom_common.telemetry.logging import get_logger
from carom_intake.answers import json_answer
from carom_intake.audit import Auditor
from carom_intake.auth import require
from carom_intake.domain.audit import AuditAct
from carom_intake.domain.keys import Scope
from carom_intake.domain.operating import parse_selector, pause_document
from carom_intake.domain.submission import InvalidSubmission
from carom_intake.problems import HttpProblem
from carom_intake.reading import read_json_body

MAX_BODY = 4096

log = get_logger()


class PauseRoutes:
    """Each answers with the pauses that are in force then; executors follow within seconds."""

    def __init__(self, store: ControlStore, audit: Auditor) -> None:
        self._store = store
        self._audit = audit

    def routes(self) -> list[Route]:
        return [
            Route("/api/pause", self.pause, methods=["POST"]),
            Route("/api/resume", self.resume, methods=["POST"]),
            Route("/api/pauses", self.list_all, methods=["GET"]),
        ]

    async def pause(self, request: Request) -> Response:
        """Hold all jobs, those for a host, or those with a label; what runs goes on. Again: no change."""
        caller = require(request, Scope.OPERATE)
        selector = await _selector_in(request)
        pause = Pause(caller.tenant, selector, now_ms())
        known = await self._pauses(caller.tenant)
        if len(known) >= MAX_PAUSES and all(other.id != pause.id for other in known):
            raise HttpProblem(409, f"{MAX_PAUSES} pauses are in force; no more are kept")
        await self._store.pause(pause)
        log.info("paused", pause=pause.id, request_id=request.scope["request_id"])
        self._audit.tell(request, caller, AuditAct.PAUSED, pause.id)
        return _listed(await self._pauses(caller.tenant))

    async def resume(self, request: Request) -> Response:
        """End the pause that was made with the same body, and no other; none of that kind: no change."""
        caller = require(request, Scope.OPERATE)
        identity = pause_id(caller.tenant, await _selector_in(request))
        await self._store.resume(identity)
        log.info("resumed", pause=identity, request_id=request.scope["request_id"])
        self._audit.tell(request, caller, AuditAct.RESUMED, identity)
        return _listed(await self._pauses(caller.tenant))

    async def list_all(self, request: Request) -> Response:
        caller = require(request, Scope.OPERATE)
        return _listed(await self._pauses(caller.tenant))

    async def _pauses(self, tenant: str) -> list[Pause]:
        pauses = await self._store.pauses()
        mine = (pause for pause in pauses if pause.tenant == tenant)
        return sorted(mine, key=lambda pause: (pause.since, pause.id))


async def _selector_in(request: Request) -> Selector:
    try:
        return parse_selector(await read_json_body(request, MAX_BODY))
    except InvalidSubmission as error:
        raise HttpProblem(400, "the selection is not valid", error.problems) from None


def _listed(pauses: list[Pause]) -> Response:
    return json_answer({"pauses": list(map(pause_document, pauses))})
