"""`DELETE /api/jobs/{jobId}` and `POST /api/jobs/{jobId}/retry`: one job, cancelled or run (again) now."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.amqp.errors import BrokerError
from carom_common.adapters.store.acts import MAX_GENERATIONS, Act, Acted, Refused, new_token
from carom_intake.acting import Actor
from carom_intake.answers import json_answer
from carom_intake.auth import Caller, require
from carom_intake.domain.documents import Record, typed_document
from carom_intake.domain.keys import Scope
from carom_intake.middleware import traceparent_of
from carom_intake.problems import HttpProblem, unavailable
from carom_intake.reading import is_uuid, no_such_job, refuse_parameters

_RUNS_BY_ITSELF = {
    "queued": "the job is queued already: it runs as soon as it can",
    "in_progress": "the job is running; cancel it first, or wait for the outcome",
    "completed": "the job is completed; submit a new one to make the call again",
}


class ActRoutes:
    """Cancels and retries single jobs."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def routes(self) -> list[Route]:
        return [
            Route("/api/jobs/{job_id}", self.cancel, methods=["DELETE"]),
            Route("/api/jobs/{job_id}/retry", self.retry, methods=["POST"]),
        ]

    async def cancel(self, request: Request) -> Response:
        """200 with the cancelled job; 409 when it was final already. A running call is stopped within seconds."""
        caller = require(request, Scope.JOBS_WRITE)
        refuse_parameters(request)
        acted = await perform(self._actor, "cancel", request, caller)
        return Response(document_of(acted, caller), media_type="application/json")

    async def retry(self, request: Request) -> Response:
        """202: a waiting or scheduled job runs now, a failed, cancelled or expired one again; 409 for any other."""
        caller = require(request, Scope.JOBS_WRITE)
        refuse_parameters(request)
        acted = await perform(self._actor, "retry", request, caller)
        return runs_again(acted)


def document_of(acted: Acted, caller: Caller) -> bytes:
    return typed_document(Record(acted.job_id, *acted.stored, payloads=caller.may(Scope.PAYLOADS_READ)))


def runs_again(acted: Acted) -> Response:
    state = acted.stored.state
    document = {
        "jobId": acted.job_id,
        "status": state["status"],
        "generation": int(state["generation"]),
        "attempts": int(state["attempt"]),
    }
    return json_answer(document, 202, {"Location": f"/api/jobs/{acted.job_id}"})


async def perform(actor: Actor, act: Act, request: Request, caller: Caller) -> Acted:
    """Act on the job in the path: 404 where the caller has none such, 409 where it cannot be, 503 where it may be."""
    job_id: str = request.path_params["job_id"]
    if act not in ("cancel", "forget-execute", "forget-callback") and not actor.can_publish:
        raise unavailable("the message broker is not connected")
    traceparent = traceparent_of(request)
    try:
        acted = await actor.act(act, job_id, caller.tenant, new_token(), traceparent) if is_uuid(job_id) else None
    except BrokerError as error:
        raise unavailable("the message broker did not confirm what follows") from error
    if acted is None:
        raise no_such_job()
    if isinstance(acted, Refused):
        raise _refusal(acted)
    return acted


def _refusal(refused: Refused) -> HttpProblem:
    match refused.why:
        case "final":
            detail, reason = f"the job is {refused.status} already", f"job-{refused.status}"
        case "not dead":
            return HttpProblem(404, "no such dead letter: the job is not in the dead letters of this kind")
        case "generations":
            detail = f"the job was run again {MAX_GENERATIONS - 1} times, which is the most; submit a new one"
            reason = "too-many-generations"
        case _:
            detail, reason = _RUNS_BY_ITSELF[refused.status], f"job-{refused.status.replace('_', '-')}"
    return HttpProblem(409, detail, reason=reason)
