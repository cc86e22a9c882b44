"""Acting on jobs, one or many; and dead letters."""

from carom_intake.domain.keys import Scope
from carom_intake.openapi.describing import Answer, Body, Operation, Parameter
from carom_intake.openapi.filters import KIND
from carom_intake.openapi.operations.common import CURSOR, FILTERS, JOB_ID, LIMIT
from carom_intake.openapi.shapes import closed, listed, ref

_LOCATION = {"Location": {"description": "Where to watch it.", "schema": {"type": "string"}}}
_KIND = Parameter("kind", "Whose retries are spent: the job's or its callback's.", KIND)
_BULK_ID = Parameter("id", "The id of the handle.", {"type": "string", "format": "uuid"}, "path")
_NOW = "2026-01-31T09:30:00Z"


def _bulk(name: str, handles: str, schema: str, path: str, tag: str, verb: str, body: Body) -> tuple[Operation, ...]:
    """Where a sort of bulk act begins, and its handles."""
    one, many = ref(schema), closed({handles: {"type": "array", "maxItems": 100, "items": ref(schema)}})
    links = {
        does: {"operationId": f"{does}{schema}", "parameters": {"id": "$response.body#/id"}} for does in ("get", "stop")
    }
    return (
        Operation(
            "POST",
            path,
            name,
            tag,
            f"{verb} by filter",
            "Those that fit and were created before this request, at a rate. With `dryRun` nothing is done.",
            Scope.OPERATE,
            {
                200: Answer("What would be done: the request had `dryRun`.", ref("Preview")),
                202: Answer("It has begun; the handle to watch it.", one, headers=_LOCATION, links=links),
            },
            (400, 409, 413, 415, 503),
            (),
            body,
        ),
        Operation(
            "GET",
            f"/api/{handles}",
            f"list{schema}s",
            tag,
            "List the last hundred handles",
            "Newest first.",
            Scope.OPERATE,
            {200: Answer("The handles.", many, {handles: []})},
            (400, 503),
        ),
        Operation(
            "GET",
            f"/api/{handles}/{{id}}",
            f"get{schema}",
            tag,
            "Watch one",
            "How far it is.",
            Scope.OPERATE,
            {200: Answer("The handle.", one)},
            (400, 404, 503),
            (_BULK_ID,),
        ),
        Operation(
            "DELETE",
            f"/api/{handles}/{{id}}",
            f"stop{schema}",
            tag,
            "Stop one",
            "What it has done stays done.",
            Scope.OPERATE,
            {200: Answer("The handle.", one)},
            (400, 404, 409, 503),
            (_BULK_ID,),
        ),
    )


OPERATIONS = (
    Operation(
        "DELETE",
        "/api/jobs/{jobId}",
        "cancelJob",
        "acting",
        "Cancel a job",
        "One that has not begun never does; a call that runs is stopped where that is possible.",
        Scope.JOBS_WRITE,
        {200: Answer("The cancelled job.", ref("JobDocument"))},
        (400, 404, 409, 503),
        (JOB_ID,),
    ),
    Operation(
        "POST",
        "/api/jobs/{jobId}/retry",
        "retryJob",
        "acting",
        "Run a job now",
        "One that waits runs now, one that failed, was cancelled or expired runs again with all its retries. A "
        "result that was not called back by then is not called back any more: the new one will be.",
        Scope.JOBS_WRITE,
        {202: Answer("It runs.", ref("RunsAgain"), headers=_LOCATION)},
        (400, 404, 409, 503),
        (JOB_ID,),
    ),
    *_bulk(
        "cancelJobs",
        "cancellations",
        "Cancellation",
        "/api/jobs/cancel",
        "acting",
        "Cancel jobs",
        Body(
            ref("CancelByFilter"),
            {
                "team": ("All that one team has waiting", {"labels": {"team": "billing"}, "status": ["waiting"]}),
                "look": ("How many jobs go to a host", {"host": "example.com", "dryRun": True}),
            },
        ),
    ),
    Operation(
        "GET",
        "/api/dead-letters",
        "listDeadLetters",
        "dead letters",
        "List dead letters, newest first",
        "Of one kind, `execute` unless it is given.",
        Scope.JOBS_READ,
        {200: Answer("A page.", listed("deadLetters", "JobSummary"), {"deadLetters": [], "nextCursor": None})},
        (400, 503),
        (_KIND, *FILTERS, LIMIT, CURSOR),
    ),
    Operation(
        "GET",
        "/api/dead-letters/{jobId}",
        "getDeadLetter",
        "dead letters",
        "Show a dead letter",
        "The job, and in which ways it is dead.",
        Scope.JOBS_READ,
        {200: Answer("The dead letter.", ref("DeadLetter"))},
        (400, 404, 503),
        (JOB_ID,),
    ),
    Operation(
        "DELETE",
        "/api/dead-letters/{jobId}",
        "forgetDeadLetter",
        "dead letters",
        "Let a dead letter go",
        "The job itself is kept for the usual time.",
        Scope.OPERATE,
        {200: Answer("The job.", ref("JobDocument"))},
        (400, 404, 409, 503),
        (JOB_ID, _KIND),
    ),
    Operation(
        "POST",
        "/api/dead-letters/{jobId}/redrive",
        "redriveDeadLetter",
        "dead letters",
        "Redrive a dead letter",
        "The job runs again with all its retries, or its callback is delivered again under the same `webhook-id`. "
        "409 where the job is dead in both ways and no kind is given.",
        Scope.OPERATE,
        {202: Answer("It is on its way.", ref("RunsAgain"), headers=_LOCATION)},
        (400, 404, 409, 503),
        (JOB_ID, _KIND),
    ),
    *_bulk(
        "redriveDeadLetters",
        "redrives",
        "Redrive",
        "/api/dead-letters/redrive",
        "dead letters",
        "Redrive dead letters",
        Body(
            ref("RedriveByFilter"),
            {
                "timeouts": ("What timed out at one host", {"host": "example.com", "reason": "timeout", "rate": 10}),
                "look": ("How many callbacks are dead", {"kind": "callback", "createdBefore": _NOW, "dryRun": True}),
            },
        ),
    ),
)
