"""What is to be said of the callback of a job that is final. Pure."""

from carom_common.domain.clock import rfc3339
from carom_common.domain.destinations import destination_of
from carom_common.topology import CALLBACK_QUEUE, DEAD_CALLBACK_QUEUE
from carom_intake.domain.documents import Record
from carom_intake.domain.explaining.parts import OWED_NEXT, OWED_WHY, Around, Step, circuit_text, quoted, seconds
from carom_intake.domain.owing import is_due


def explain_callback(record: Record, around: Around) -> Step | None:
    """None while the job is not final, and where no callback was asked for."""
    target = record.job.calls_back
    if target is None or not record.final:
        return None
    if not record.job.wants(record.status):  # type: ignore[arg-type]
        why = f"The job asks for callbacks of other events: {', '.join(target.events)}."
        return Step("callback-not-wanted", "Nobody is called back.", why, "Nothing.")
    host, status = destination_of(target.url), record.text("callback")
    tried = record.number("callback_attempt")
    if status == "delivered":
        return Step("callback-delivered", "It was delivered.", f"{host} took it at attempt {tried}.", "Nothing.")
    if status == "failed":
        return _failed(record, host, tried)
    return _pending(record, around, host, tried)


def _failed(record: Record, host: str, tried: int) -> Step:
    why = f"{quoted(record.text('callback_error')) or f'{host} did not take it'}."
    if record.text("callback_dead") != "1":
        return Step("callback-failed", f"It failed for good, at attempt {tried}.", why, "Nothing.")
    path = f"/api/dead-letters/{record.job_id}"
    return Step(
        "callback-dead-letter",
        f"It failed at attempt {tried}: it is kept among the dead letters, and its message in {DEAD_CALLBACK_QUEUE}.",
        why,
        "It stays there until somebody acts or its time there is over.",
        None,
        f"POST {path}/redrive?kind=callback sends it again, under the same webhook-id; "
        f"DELETE {path}?kind=callback lets it go.",
    )


def _pending(record: Record, around: Around, host: str, tried: int) -> Step:
    now, owed = around.now, record.text("owed")
    if owed.startswith("callback") and is_due(record.state, owed):
        return Step(
            "callback-owed",
            "It is recorded, and its message is not known to be in RabbitMQ yet.",
            OWED_WHY,
            OWED_NEXT,
            record.time("updated"),
        )
    retry = record.job.calls_back.retry if record.job.calls_back is not None else None
    # How often is otherwise up to the settings of the callback service, which nobody knows here.
    number = f"{tried + 1} of {retry.max_retries + 1}" if retry is not None else f"{tried + 1}"
    error = quoted(record.text("callback_error"))
    before = f"Attempt {tried} failed: {error or 'no reason is known'}." if tried else ""
    lease = record.number("callback_lease")
    if lease > now:
        process = record.text("callback_owner").partition("/")[0]
        return Step(
            "callback-running",
            f"Attempt {number} is with the process {process}.",
            before or f"The call to {host} is under way.",
            f"The answer decides. The process has it until {rfc3339(lease)}, and renews that every 3 s; if it dies, "
            "another makes the attempt again, under the same webhook-id.",
        )
    circuit = circuit_text(host, around.callback, now)
    eta = record.number("callback_eta")
    if eta > now:
        return Step(
            "callback-waiting-for-retry",
            f"It waits in RabbitMQ, in a delay queue, for attempt {number}.",
            before,
            f"Attempt {tried + 1} begins at {rfc3339(eta)}, in {seconds(eta - now)}, not before."
            + (f" {circuit[0]}" if circuit else ""),
        )
    if record.number("callback_claims"):
        before = f"{before} It was begun and not finished: its process gave it back, or died.".strip()
    return Step(
        "callback-queued",
        f"It is due, for attempt {number}: in {CALLBACK_QUEUE}, or at the callback service.",
        " ".join(filter(None, (before, circuit[0] if circuit else ""))) or "Nothing is known to hold it.",
        circuit[1] if circuit else f"The callback service takes it, and calls {host}.",
        record.time("callback_eta") or record.time("completed"),
        None
        if circuit
        else "If it stays so, look whether the callback service is ready: docs/operations/diagnosis.md.",
    )
