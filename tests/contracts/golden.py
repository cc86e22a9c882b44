"""What the golden messages say, as today's code has it: each of them is a file in the folder of its version.

A file is never changed once its version is out. Who adds a field with a default adds a golden message that has it.
"""

from collections.abc import Mapping

from msgspec import Raw

from carom_common.contracts.job import Callback, CallbackRetry, Job, RetryPolicy, SuccessRules
from carom_common.contracts.message import Attempt, CallbackMessage, Detail, ExecuteMessage, Timing

JOB_ID = "6f0e7a3e-2d53-4e0c-8f3a-1f2b3c4d5e6f"
CREATED = 1_716_033_600_000
TRACE, BEFORE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-1-01"
SIMPLE = Job(target_url="https://example.com/hook", callback_url="https://example.com/done")
SILENT = Job(
    target_url="https://example.com/hook", callback_url=None, method="POST", payload=Raw(b'{"a":[1,"\xc3\xa4"]}')
)
FULL = Job(
    target_url="https://example.com/hook?x=1",
    method="PATCH",
    headers={"X-One": "1", "Content-Type": "application/json"},
    payload=Raw(b'{"card":"4111","amount":12.5}'),
    max_retries=10,
    retry_delay=30_000,
    timeout=300_000,
    retry=RetryPolicy("linear", 60_000, "full", (409, "5xx")),
    follow_redirects=True,
    callback=Callback(
        "https://example.com/done",
        "PUT",
        {"X-Two": "2"},
        ("completed", "failed", "attempt"),
        CallbackRetry(3, 1000, "fixed", 60_000, "none"),
        5000,
    ),
    run_at="2024-05-18T12:00:10.000Z",
    expires_at="2024-05-19T12:00:00.000Z",
    success=SuccessRules((200, "3xx")),
    labels={"example.com/team": "a", "tier": "gold"},
    priority="high",
    redact=("/card",),
    sign=True,
)
DELAYED = Job(target_url="https://example.com/hook", callback_url=None, delay=5000, ttl=60_000, priority="low")
FAILED = Attempt(
    1,
    503,
    False,
    "2024-05-18T12:00:02.000Z",
    Raw(b'{"no":1}'),
    "the target answered 503",
    duration_ms=12,
    reason="http-5xx",
)
CUT = Attempt(2, 200, True, "2024-05-18T12:00:09.000Z", Raw(b'"abc"'), truncated=True, duration_ms=3, generation=2)
NOBODY = Attempt(1, None, False, "2024-05-18T12:00:02.000Z", error="no answer within 30 s", reason="timeout")

MESSAGES: Mapping[str, ExecuteMessage | CallbackMessage] = {
    "execute-first": ExecuteMessage(1, "default", JOB_ID, SIMPLE, CREATED),
    "execute-silent": ExecuteMessage(1, "default", JOB_ID, SILENT, CREATED),
    "execute-delayed": ExecuteMessage(
        1, "acme", JOB_ID, DELAYED, CREATED, eta=CREATED + 5000, expires=CREATED + 60_000
    ),
    "execute-retry": ExecuteMessage(
        1, "acme", JOB_ID, SIMPLE, CREATED, attempt=2, eta=CREATED + 4000, attempts=(FAILED,)
    ),
    "execute-everything": ExecuteMessage(
        1,
        "acme",
        JOB_ID,
        FULL,
        CREATED,
        generation=2,
        attempt=3,
        eta=CREATED + 10_000,
        attempts=(FAILED, CUT),
        traceparent=TRACE,
        base=1,
        expires=CREATED + 86_400_000,
        published=CREATED + 1,
        previous=BEFORE,
    ),
    "callback-completed": CallbackMessage(
        1, "default", JOB_ID, SIMPLE, CREATED, "completed", CREATED + 9000, attempts=(FAILED, CUT)
    ),
    "callback-cancelled": CallbackMessage(1, "default", JOB_ID, SIMPLE, CREATED, "cancelled", CREATED + 1),
    "callback-expired": CallbackMessage(
        1, "default", JOB_ID, SIMPLE, CREATED, "expired", CREATED + 1, reason="expired"
    ),
    "callback-attempt": CallbackMessage(
        1, "acme", JOB_ID, FULL, CREATED, "waiting", CREATED + 2000, attempts=(FAILED,), event="attempt"
    ),
    "callback-everything": CallbackMessage(
        1,
        "acme",
        JOB_ID,
        FULL,
        CREATED,
        "failed",
        CREATED + 2000,
        "no answer within 30 s",
        "timeout",
        True,
        2,
        (NOBODY,),
        3,
        4,
        CREATED + 60_000,
        TRACE,
        "final",
        CREATED + 2001,
        BEFORE,
    ),
}

DETAILED = Attempt(
    1,
    200,
    True,
    "2024-05-18T12:00:02.000Z",
    Raw(b'{"ok":true}'),
    duration_ms=12,
    detail=Detail(Timing(0.5, 1.25, 2.5, 8.0, 12.0), "203.0.113.7", {"content-type": "application/json"}),
)
RECORDED: Mapping[str, Job | Attempt] = {"job-simple": SIMPLE, "job-everything": FULL, "attempt-with-detail": DETAILED}
"""What stands in the log of a record, where it lives for as long as the record is kept."""
