"""What is to be said of the call of a job: from its acceptance to its outcome. Pure."""

from carom_common.contracts.job import Status
from carom_common.domain.clock import rfc3339
from carom_common.domain.destinations import destination_of
from carom_common.topology import DELIVERY_LIMIT
from carom_intake.domain.documents import Record
from carom_intake.domain.explaining.callbacks import explain_callback
from carom_intake.domain.explaining.case import Case, due_since, last_error, queue_of
from carom_intake.domain.explaining.ends import of_final
from carom_intake.domain.explaining.holds import covered, held
from carom_intake.domain.explaining.parts import (
    OWED_NEXT,
    OWED_WHY,
    Around,
    Explanation,
    Step,
    circuit_text,
    explanation,
    holding,
    pause_text,
    seconds,
)
from carom_intake.domain.owing import is_due

SLACK_MS = 5000
"""A call that lasts so much longer than its timeout is over: what comes after it takes the time."""


def explain(record: Record, tenant: str, around: Around) -> Explanation:
    """All that is known of a job of this tenant."""
    case = Case(record, around, destination_of(record.job.target_url), holding(record, tenant, around.pauses))
    step = _of_open(case) if not record.final else of_final(case)
    return explanation(step, explain_callback(record, around), around.now)


def _of_open(case: Case) -> Step:
    record, now = case.record, case.around.now
    owed = record.text("owed")
    if owed and is_due(record.state, owed):
        return _owed(case)
    if record.status is Status.IN_PROGRESS:
        return _running(case) if record.number("lease") > now else _lease_over(case)
    eta = record.number("eta")
    if eta > now:
        return _waiting(case, eta) if record.status is Status.WAITING else _scheduled(case, eta)
    if record.text("wait_reason") and (expires := record.number("expires")) and expires <= now:
        return _queued(case)
    if record.text("wait_reason"):
        return held(case, record.text("wait_reason"))
    return covered(case) if case.pauses else _queued(case)


def _owed(case: Case) -> Step:
    since = case.record.time("updated")
    return Step(
        "act-owed",
        "It is to run again: that is recorded, and its message is not known to be in RabbitMQ yet.",
        OWED_WHY,
        OWED_NEXT,
        since,
    )


# Not due yet


def _scheduled(case: Case, eta: int) -> Step:
    return Step(
        "scheduled",
        "It waits in RabbitMQ, in a delay queue, for its time.",
        f"It is to run at {rfc3339(eta)}, in {seconds(eta - case.around.now)}.",
        f"Then it goes to {queue_of(case)} and runs, never before.{_when_due(case)}{case.ends}",
        case.record.time("updated"),
        f"POST {case.job_path}/retry runs it at once.",
    )


def _waiting(case: Case, eta: int) -> Step:
    left = seconds(eta - case.around.now)
    return Step(
        "waiting-for-retry",
        f"It waits in RabbitMQ, in a delay queue, for attempt {case.number} of {case.total}.",
        f"Attempt {case.number - 1} of {case.total} failed: {last_error(case)}",
        f"Attempt {case.number} begins at {rfc3339(eta)}, in {left}, not before.{_when_due(case)}{case.ends}",
        case.record.time("updated"),
        f"POST {case.job_path}/retry begins it at once.",
    )


def _when_due(case: Case) -> str:
    """What would hold it if it were due now."""
    if case.pauses:
        return f" If {pause_text(case.pauses[0])} is still in force then, it holds the job."
    if circuit := circuit_text(case.host, case.around.target, case.around.now):
        return f" {circuit[0]} If it is still open then, that holds the job."
    return ""


# Due


def _queued(case: Case) -> Step:
    around, record = case.around, case.record
    since = due_since(case)
    what = "its first call" if case.number == 1 else f"attempt {case.number} of {case.total}"
    where = f"It has been due for {seconds(around.now - since)}, for {what}: in {queue_of(case)}, or at an executor."
    ahead = f"{around.ahead} unfinished jobs of its tenant were accepted before it" if around.ahead else ""
    running = f"{around.running} calls of its tenant ran a moment ago" if around.running else ""
    why = " and ".join(filter(None, (ahead, running)))
    why = f"It waits its turn: {why}." if why else "Nothing is known to hold it: an executor takes it within moments."
    do = None
    expires = record.number("expires")
    if expires and expires <= around.now:
        next_ = "Its time is over: the executor that takes it ends it as expired, without a call."
    elif circuit := circuit_text(case.host, around.target, around.now):
        why, next_ = f"{why} {circuit[0]}", f"An executor takes it, and holds it back. {circuit[1]}"
    else:
        next_ = f"An executor takes it, and calls {case.host}.{case.ends}"
    if around.now - since > 30_000 and not around.running:
        do = "Look whether executors are ready, and what they do: docs/operations/diagnosis.md."
    return Step("queued", where, why, next_, rfc3339(since), do)


# Running


def _running(case: Case) -> Step:
    record, now = case.record, case.around.now
    began, lease, timeout = record.number("updated"), record.number("lease"), record.job.timeout
    lasts = now - began
    claims = record.number("claims")
    again = (
        f" It was begun {claims} times: the processes before went away without an outcome; more than {DELIVERY_LIMIT} "
        "times is a crash loop, which ends it."
        if claims > 1
        else ""
    )
    place = "The call is under way" if lasts <= timeout + SLACK_MS else "The call must be over by now"
    late = "" if lasts <= timeout + SLACK_MS else ": what is left is to record and to publish its outcome"
    return Step(
        "running",
        f"Attempt {case.number} of {case.total} is with the process {process_of(record.text('owner'))}.",
        f"{place}, for {seconds(lasts)} of at most {seconds(timeout)}{late}.{again}",
        f"Its outcome decides. The process has it until {rfc3339(lease)}, and renews that every 3 s; if it dies, "
        "another makes the attempt again.",
        rfc3339(began),
        f"DELETE {case.job_path} cancels it."
        if not late
        else "Look at /debug/tasks of that process, and whether RabbitMQ and Redis are there.",
    )


def _lease_over(case: Case) -> Step:
    record = case.record
    lease = record.number("lease")
    process = process_of(record.text("owner"))
    why = f"{process} had it until {rfc3339(lease)}, and died, stands still, or does not reach Redis."
    if not lease:
        why = f"{process} gave it back: it was shutting down, or met a defect, which it logged as step_failed."
    return Step(
        "lease-over",
        f"Attempt {case.number} of {case.total} was begun and not finished; no process has it.",
        why,
        "RabbitMQ gives its message to another executor, which makes the attempt again: at the latest when the "
        f"connection of the first counts as lost.{case.ends}",
        rfc3339(lease) if lease else None,
        "Look whether executors are ready, and what they do: docs/operations/diagnosis.md.",
    )


def process_of(owner: str) -> str:
    """The process of a lease, which begins with the name of its pod."""
    return owner.partition("/")[0] or "unknown"
