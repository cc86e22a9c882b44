"""Taking a job in: publish with confirm, then the record. Never a 202 without a confirm."""

from time import perf_counter
from typing import NamedTuple

from carom_common.adapters.amqp.errors import BrokerError, Unroutable
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.backlog import Backlog
from carom_common.adapters.store.store import Store, StoreUnavailable
from carom_common.contracts.job import encode_job
from carom_common.contracts.message import VERSION, ExecuteMessage
from carom_common.domain.buckets import largest_within
from carom_common.telemetry import metrics
from carom_common.telemetry.tracing import Tracer
from carom_common.topology import DELAY, WORK, delayed
from carom_intake.domain.submission import InvalidSubmission, Submission, parse_submission
from carom_intake.lanes import Lanes
from carom_intake.problems import HttpProblem, unavailable
from carom_intake.quotas import Quotas
from carom_intake.reading import Limits
from carom_intake.sending import send

BACKLOG_RETRY_SECONDS = 5

_publish_seconds = metrics.step_seconds.labels("accept", "publish")
_record_seconds = metrics.step_seconds.labels("accept", "record")


class Took(NamedTuple):
    """Seconds until the broker had confirmed a job, and from then until the store had recorded it."""

    publish: float
    record: float


def submission_in(body: bytes, now: int, limits: Limits, tenant: str) -> Submission:
    """The job in a body that came at `now`: 400 with all that is wrong with it, 413 when its payload is too large."""
    try:
        submission = parse_submission(body, now, limits.outbound, tenant)
    except InvalidSubmission as error:
        raise HttpProblem(400, "the job is not valid", error.problems) from None
    size = len(memoryview(submission.job.payload))
    if size > limits.payload:
        raise HttpProblem(413, f"payload is {size} bytes of JSON, at most {limits.payload} are taken")
    return submission


def message_of(submission: Submission, tenant: str, job_id: str, now: int, traceparent: str) -> ExecuteMessage:
    """The first message of a job accepted at `now`."""
    return ExecuteMessage(
        version=VERSION,
        tenant=tenant,
        job_id=job_id,
        job=submission.job,
        created_at=now,
        eta=submission.plan.eta,
        expires=submission.plan.expires,
        traceparent=traceparent,
    )


class Acceptor:
    """Accepts jobs, one at a time or many side by side."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        lanes: Lanes,
        backlog: Backlog,
        max_backlog: int,
        quotas: Quotas = Quotas(),  # noqa: B008  (it never changes)
        tracer: Tracer | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._lanes = lanes
        self._backlog = backlog
        self._max_backlog = max_backlog
        self._quotas = quotas
        self._tracer = tracer

    def check_open(self, tenant: str, size: int, jobs: int = 1) -> None:
        """Raise a 503 at once when broker or store cannot take these jobs now, or the backlog has no room for them.

        429 when they, of `size` bytes together, are over what their tenant may have.
        """
        if not self._publisher.available:
            raise unavailable(f"the message broker is {self._publisher.state}")
        if self._store.state != "ok":
            raise unavailable("the job store is away")
        if self._backlog.jobs + jobs > self._max_backlog:
            detail = f"{self._backlog.jobs} jobs are open, at most {self._max_backlog} are taken; nothing was accepted"
            raise HttpProblem(503, detail, headers={"Retry-After": str(BACKLOG_RETRY_SECONDS)}, reason="backlog-full")
        self._quotas.check(self._backlog, tenant, jobs, size)

    async def accept(self, message: ExecuteMessage) -> Took:
        """Returns once broker and store have the job; raises a 503 when that is not known."""
        key = self._lanes.of(message.job)
        bucket = largest_within(message.eta - message.created_at) if message.eta else None
        exchange, key = (WORK, key) if bucket is None else (DELAY, delayed(key, bucket))
        job, started = encode_job(message.job), perf_counter()
        try:
            await send(self._publisher, exchange, key, message, self._store.vault, self._tracer)
            confirmed = perf_counter()
            await self._store.executions.record_queued(message, job)
        except Unroutable as error:
            raise unavailable("a queue is missing in the message broker") from error
        except BrokerError as error:
            raise unavailable("the message broker did not confirm the job") from error
        except StoreUnavailable as error:
            raise unavailable("the job store did not take the job") from error
        done = perf_counter()
        self._backlog.took(message.tenant, len(job))
        took = Took(confirmed - started, done - confirmed)
        _publish_seconds.observe(took.publish)
        _record_seconds.observe(took.record)
        return took
