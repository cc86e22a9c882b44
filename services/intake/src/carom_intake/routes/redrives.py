"""Bulk acts by filter, and the handles to watch and to stop them.

`POST /api/dead-letters/redrive` with `/api/redrives`, `POST /api/jobs/cancel` with `/api/cancellations`.
"""

import uuid
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.campaigns import MAX_ACTIVE, MAX_ACTIVE_OF_TENANT, BulkAct, Campaign, Campaigns
from carom_common.adapters.store.queries import Queries
from carom_common.domain.clock import now_ms, rfc3339
from carom_common.telemetry.logging import get_logger
from carom_intake.answers import json_answer
from carom_intake.audit import ENDED, Auditor
from carom_intake.auth import Caller, require
from carom_intake.campaigns import narrowed, preview
from carom_intake.domain.audit import AuditAct
from carom_intake.domain.bulk import BulkAsked, filter_document, parse_bulk
from carom_intake.domain.keys import Scope
from carom_intake.domain.listing import BadFilter, summary_document
from carom_intake.problems import HttpProblem
from carom_intake.reading import is_uuid, read_json_body, refuse_parameters

MAX_BODY = 65_536
LISTED = 100
HANDLES: dict[BulkAct, str] = {"redrive": "redrives", "cancel": "cancellations"}
_STARTED = {"redrive": AuditAct.BULK_REDRIVE_STARTED, "cancel": AuditAct.BULK_CANCEL_STARTED}
_DONE: dict[BulkAct, str] = {"redrive": "redriven", "cancel": "cancelled"}

log = get_logger()


def _encode_filter(wanted: Any) -> str:
    return msgspec.json.encode(filter_document(wanted)).decode()


class BulkRoutes:
    """One sort of bulk act: where it begins, and its handles."""

    def __init__(self, campaigns: Campaigns, queries: Queries, act: BulkAct, start_path: str, audit: Auditor) -> None:
        self._campaigns = campaigns
        self._queries = queries
        self._act = act
        self._start_path = start_path
        self._audit = audit

    def routes(self) -> list[Route]:
        handles = f"/api/{HANDLES[self._act]}"
        return [
            Route(self._start_path, self.start, methods=["POST"]),
            Route(handles, self.list_all, methods=["GET"]),
            Route(f"{handles}/{{campaign_id}}", self.show, methods=["GET"]),
            Route(f"{handles}/{{campaign_id}}", self.stop, methods=["DELETE"]),
        ]

    async def start(self, request: Request) -> Response:
        """202 with a handle; with `dryRun` 200 with a count and a sample, and nothing is done."""
        caller = require(request, Scope.OPERATE)
        refuse_parameters(request)
        body = await read_json_body(request, MAX_BODY)
        try:
            asked = parse_bulk(body, self._act)
        except BadFilter as error:
            raise HttpProblem(400, "the bulk act is not valid", error.problems) from None
        now = now_ms()
        wanted = narrowed(asked.filter, now + 1)
        if asked.dry_run:
            return await self._preview(caller.tenant, asked, wanted)
        who = self._audit.who(request, caller)
        campaign = Campaign(
            id=str(uuid.uuid4()),
            tenant=caller.tenant,
            act=self._act,
            kind=asked.kind,
            filter=wanted,
            rate=asked.rate,
            status="running",
            cursor=None,
            done=0,
            skipped=0,
            started=now,
            ended=0,
            by=who.by,
            address=who.address,
        )
        started = await self._campaigns.start(campaign)
        if not started:
            detail = f"{MAX_ACTIVE_OF_TENANT} bulk acts of yours, or {MAX_ACTIVE} of all, are under way; stop one"
            raise HttpProblem(409, detail, reason="too-many-bulk-acts")
        log.info("campaign_started", campaign_id=campaign.id, act=self._act, request_id=request.scope["request_id"])
        self._audit.tell(request, caller, _STARTED[self._act], campaign.id, detail=_encode_filter(wanted))
        location = f"/api/{HANDLES[self._act]}/{campaign.id}"
        return json_answer(self._document(campaign), 202, {"Location": location})

    async def _preview(self, tenant: str, asked: BulkAsked, wanted: Any) -> Response:
        found = await preview(self._queries, tenant, wanted)
        return json_answer(
            {
                "dryRun": True,
                **({"kind": asked.kind} if asked.kind else {}),
                "filter": filter_document(wanted),
                "count": found.jobs,
                "exact": found.exact,
                "sample": [summary_document(*listed) for listed in found.sample],
            }
        )

    async def list_all(self, request: Request) -> Response:
        """The last hundred, newest first."""
        caller = require(request, Scope.OPERATE)
        refuse_parameters(request)
        found = await self._campaigns.latest(caller.tenant, self._act, LISTED)
        return json_answer({HANDLES[self._act]: list(map(self._document, found))})

    async def show(self, request: Request) -> Response:
        campaign = await self._of(request, require(request, Scope.OPERATE))
        refuse_parameters(request)
        return json_answer(self._document(campaign))

    async def stop(self, request: Request) -> Response:
        """200: it goes no further; what it has done stays done. 409 when it was through already."""
        caller = require(request, Scope.OPERATE)
        campaign = await self._of(request, caller)
        refuse_parameters(request)
        status = await self._campaigns.end(campaign.id, "stopped")
        if status == "done":
            raise HttpProblem(409, "it is done already", reason="already-done")
        stopped = await self._of(request, caller)
        if campaign.status == "running":
            log.info("campaign_ended", campaign_id=campaign.id, act=self._act, status="stopped")
            self._audit.tell(request, caller, ENDED[self._act], campaign.id, stopped.done, "stopped")
        return json_answer(self._document(stopped))

    async def _of(self, request: Request, caller: Caller) -> Campaign:
        """The caller's bulk act in the path, or 404."""
        campaign_id = request.path_params["campaign_id"]
        found = await self._campaigns.fetch(campaign_id) if is_uuid(campaign_id) else None
        if found is None or found.tenant != caller.tenant or found.act != self._act:
            raise HttpProblem(404, "no such bulk act: it never existed, or it ended more than 7 days ago")
        return found

    def _document(self, campaign: Campaign) -> dict[str, Any]:
        return {
            "id": campaign.id,
            "status": campaign.status,
            **({"kind": campaign.kind} if campaign.kind else {}),
            "filter": filter_document(campaign.filter),
            "rate": campaign.rate,
            "matched": campaign.done + campaign.skipped,
            _DONE[self._act]: campaign.done,
            "skipped": campaign.skipped,
            "startedAt": rfc3339(campaign.started),
            "endedAt": rfc3339(campaign.ended) if campaign.ended else None,
        }
