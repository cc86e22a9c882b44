"""Showing jobs, lists of them, and figures."""

from carom_intake.domain.keys import Scope
from carom_intake.openapi.describing import Answer, Operation
from carom_intake.openapi.operations.common import AT, CURSOR, FILTERS, JOB_ID, JOB_ID_EXAMPLE, LIMIT
from carom_intake.openapi.shapes import listed, ref

_JOB_EXAMPLE = {
    "jobId": JOB_ID_EXAMPLE,
    "status": "completed",
    "targetUrl": "https://example.com/hook",
    "method": "GET",
    "priority": "normal",
    "labels": {"team": "billing"},
    "attempts": 1,
    "createdAt": AT,
    "updatedAt": AT,
    "completedAt": AT,
    "nextAttemptAt": None,
    "expiresAt": None,
    "error": "",
    "reason": None,
    "waitReason": None,
    "callback": {"status": "none", "attempts": 0, "lastError": None, "nextAttemptAt": None},
}

OPERATIONS = (
    Operation(
        "GET",
        "/api/jobs",
        "listJobs",
        "looking",
        "List jobs, newest first",
        "A page may be short, or empty, while `nextCursor` says that the list goes on.",
        Scope.JOBS_READ,
        {200: Answer("A page.", listed("jobs", "JobSummary"), {"jobs": [_JOB_EXAMPLE], "nextCursor": None})},
        (400, 503),
        (*FILTERS, LIMIT, CURSOR),
    ),
    Operation(
        "GET",
        "/api/jobs/{jobId}",
        "getJob",
        "looking",
        "Show a job",
        "The job, its attempts, what comes next, and how its callback goes.",
        Scope.JOBS_READ,
        {200: Answer("The job.", ref("JobDocument"))},
        (404, 503),
        (JOB_ID,),
    ),
    Operation(
        "GET",
        "/api/job/{jobId}",
        "getSeedJob",
        "looking",
        "Show a job as the first version of this API did",
        "Numbers are strings. `scheduled` shows as `queued`, `waiting` as `in_progress`.",
        Scope.JOBS_READ,
        {200: Answer("The job.", ref("SeedJob"))},
        (404, 503),
        (JOB_ID,),
    ),
    Operation(
        "GET",
        "/api/jobs/{jobId}/attempts",
        "listAttempts",
        "looking",
        "List the attempts of a job",
        "What was sent, what came back, and where the time went. Secrets in headers are redacted.",
        Scope.JOBS_READ,
        {200: Answer("A page.", listed("attempts", "Attempt"), {"attempts": [], "nextCursor": None})},
        (400, 404, 503),
        (JOB_ID, LIMIT, CURSOR),
    ),
    Operation(
        "GET",
        "/api/stats",
        "getStats",
        "looking",
        "Show how much there is to do, and how it goes",
        "Of the caller's tenant; counts, rates and latencies over the last 1, 5 and 15 minutes.",
        Scope.JOBS_READ,
        {200: Answer("The figures.", ref("Stats"))},
        (400, 503),
    ),
)
