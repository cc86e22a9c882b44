"""`GET /api/jobs/{jobId}/attempts`: what was tried, with what was sent, what came back and where the time went."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.attempts import Attempts, LogPart
from carom_common.contracts.job import decode_job
from carom_common.contracts.message import decode_attempt
from carom_intake.answers import json_answer
from carom_intake.auth import require
from carom_intake.domain.attempts import Range, attempt_document, next_cursor, parse_range
from carom_intake.domain.keys import Scope
from carom_intake.domain.listing import BadFilter
from carom_intake.problems import HttpProblem
from carom_intake.reading import is_uuid, no_such_job


class AttemptRoutes:
    """Shows the attempts of a job."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    def routes(self) -> list[Route]:
        return [Route("/api/jobs/{job_id}/attempts", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        caller = require(request, Scope.JOBS_READ)
        job_id = request.path_params["job_id"]
        try:
            asked = parse_range(job_id, request.query_params.multi_items())
        except BadFilter as error:
            raise HttpProblem(400, f"the query is not valid: {error}"[:1000], error.problems) from None
        part = await self._read(job_id, caller.tenant, asked)
        job, payloads = decode_job(part.job), caller.may(Scope.PAYLOADS_READ)
        entries = map(decode_attempt, part.entries)
        document = {
            "attempts": [attempt_document(job_id, job, entry, payloads=payloads) for entry in entries],
            "nextCursor": next_cursor(job_id, asked, len(part.entries), part.settled),
        }
        return json_answer(document)

    async def _read(self, job_id: str, tenant: str, asked: Range) -> LogPart:
        """A part of the log of a tenant's job, or 404."""
        part = await self._attempts.read(job_id, *asked) if is_uuid(job_id) else None
        if part is None or part.tenant != tenant:
            raise no_such_job()
        return part
