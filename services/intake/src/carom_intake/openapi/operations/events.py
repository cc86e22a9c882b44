"""Telling what happens while it happens."""

from carom_common.domain.happening import EVENTS
from carom_intake.domain.keys import Scope
from carom_intake.openapi.describing import Answer, Operation, Parameter, Schema
from carom_intake.openapi.operations.common import JOB_ID

_POSITION: Schema = {"type": "string", "pattern": "^([0-9]{1,20}-[0-9]{1,20})?$", "description": "Empty: none."}
_RESUME = (
    Parameter("lastEventId", "As the header, for clients that cannot set one; the header wins.", _POSITION),
    Parameter("Last-Event-ID", "Go on after this event.", _POSITION, "header"),
)
_DATA: Schema = {
    "type": "object",
    "required": ["event"],
    "properties": {
        "event": {"type": "string"},
        "jobId": {"type": "string", "format": "uuid"},
        "generation": {"type": "integer"},
        "attempt": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "status": {"type": "string", "description": "Of the event `state`: how the job is."},
        "callback": {"type": "string", "description": "Of the event `state`: how its callback goes."},
    },
}
_EVENT: Schema = {
    "type": "object",
    "description": "One event of the stream, by the names of its fields there.",
    "properties": {
        "event": {"type": "string", "enum": [*EVENTS, "state", "gap"]},
        "id": _POSITION,
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": _DATA},
        "retry": {"type": ["integer", "string"], "description": "Milliseconds after which to come back."},
    },
}
_EXAMPLE = {
    "event": "completed",
    "id": "1769851800120-0",
    "data": '{"jobId":"7b0c2a52-5a3f-4a0e-9d5e-0f6b7f0e9c11","event":"completed","generation":1,"attempt":1,'
    '"at":"2026-01-31T09:30:00.120Z"}',
}
_STREAM = Answer(
    "Server-Sent Events: an `event` with its `id` and `data` of JSON for each change; `state` for how a job is, `gap` "
    "where some events are no longer kept. It ends after a while: come back with the last id.",
    _EVENT,
    _EXAMPLE,
    "text/event-stream",
)

OPERATIONS = (
    Operation(
        "GET",
        "/api/events",
        "followJobs",
        "events",
        "Follow all jobs",
        "Every change of state of the caller's jobs.",
        Scope.JOBS_READ,
        {200: _STREAM},
        (400, 503),
        (
            Parameter(
                "event",
                "Only these; repeated.",
                {"type": "array", "items": {"type": "string", "enum": list(EVENTS)}},
            ),
            *_RESUME,
        ),
    ),
    Operation(
        "GET",
        "/api/jobs/{jobId}/events",
        "followJob",
        "events",
        "Follow one job",
        "Begins with its `state`; ends when the job, and its callback, are over.",
        Scope.JOBS_READ,
        {200: _STREAM, 204: Answer("All was told: do not come back.")},
        (400, 404, 503),
        (JOB_ID, *_RESUME),
    ),
)
