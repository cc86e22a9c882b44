"""Taking jobs."""

from carom_intake.domain.keys import Scope
from carom_intake.openapi.describing import Answer, Body, Operation, Parameter
from carom_intake.openapi.operations.common import IDEMPOTENCY_KEY, JOB_ID_EXAMPLE, REPLAYED
from carom_intake.openapi.shapes import ref

_LOCATION = {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}
_SMALLEST = {"targetUrl": "https://example.com/hook", "callbackUrl": None}
_EXAMPLES = {
    "smallest": ("A GET, nobody called back", _SMALLEST),
    "seed": (
        "A POST with retries and a callback",
        {
            "targetUrl": "https://example.com/orders",
            "method": "POST",
            "headers": {"Content-Type": "application/json", "Authorization": "Bearer secret"},
            "payload": {"order": 17, "lines": [{"sku": "a-1", "count": 2}]},
            "callbackUrl": "https://example.com/done",
            "maxRetries": 5,
            "retryDelay": 2000,
            "retry": {"strategy": "exponential", "maxDelay": 60000, "jitter": "full", "statuses": [429, "5xx"]},
        },
    ),
    "later": ("In a minute, within an hour, with labels", _SMALLEST | {
        "delay": 60000,
        "ttl": 3600000,
        "labels": {"team": "billing", "example.com/shard": "7"},
        "priority": "low",
    }),
    "rules": ("Its own rules of success, and a callback for every attempt", {
        "targetUrl": "https://example.com/hook",
        "success": {"statuses": ["2xx", 404]},
        "timeout": 5000,
        "callback": {
            "url": "https://example.com/done",
            "method": "PUT",
            "headers": {"X-Team": "billing"},
            "events": ["completed", "failed", "attempt"],
            "retry": {"maxRetries": 3, "retryDelay": 1000},
            "timeout": 10000,
        },
    }),
}  # fmt: skip

OPERATIONS = (
    Operation(
        "POST",
        "/api/jobs",
        "submitJob",
        "submitting",
        "Submit a job",
        "202 means kept: a quorum queue has confirmed the job. With `Prefer: wait=N` the answer is 200 with the "
        "finished job, where it finishes in time.",
        Scope.JOBS_WRITE,
        {
            200: Answer(
                "The job is finished: the request had `Prefer: wait`.",
                ref("JobDocument"),
                headers=_LOCATION
                | REPLAYED
                | {"Preference-Applied": {"description": "`wait`, with its seconds.", "schema": {"type": "string"}}},
            ),
            202: Answer(
                "Accepted.",
                ref("Accepted"),
                {"jobId": JOB_ID_EXAMPLE, "status": "queued", "message": "Job accepted for processing"},
                headers=_LOCATION | REPLAYED,
                links={
                    name: {"operationId": name, "parameters": {"jobId": "$response.body#/jobId"}}
                    for name in ("getJob", "getSeedJob", "listAttempts", "cancelJob", "retryJob")
                },
            ),
        },
        (400, 409, 413, 415, 422, 503),
        (
            IDEMPOTENCY_KEY,
            Parameter(
                "Prefer",
                "`wait=N`: wait up to N seconds, at most 60, for the job to finish (RFC 7240).",
                {"type": "string"},
                "header",
            ),
        ),
        Body(ref("Job"), _EXAMPLES),
    ),
    Operation(
        "POST",
        "/api/jobs/batch",
        "submitBatch",
        "submitting",
        "Submit up to 1,000 jobs",
        "An answer for each job, in order. One that is not valid does not refuse the others, unless `atomic` says so.",
        Scope.JOBS_WRITE,
        {
            207: Answer(
                "What became of each job.",
                ref("BatchAnswer"),
                {"jobs": [{"index": 0, "status": 202, "jobId": JOB_ID_EXAMPLE}]},
                headers=REPLAYED,
            )
        },
        (400, 408, 409, 413, 415, 422, 503),
        (IDEMPOTENCY_KEY,),
        Body(
            ref("Batch"),
            {
                "two": ("Two jobs", {"jobs": [_SMALLEST, _SMALLEST | {"priority": "high"}]}),
                "mixed": ("One that is not valid beside one that is", {"jobs": [{"targetUrl": "ftp://x"}, _SMALLEST]}),
                "atomic": ("All or none", {"jobs": [_SMALLEST], "atomic": True}),
            },
        ),
    ),
)
