"""What is to be said of a job that is final, and of one that cannot be shown. Pure."""

from collections.abc import Mapping

from carom_common.contracts.job import Status
from carom_common.domain.clock import rfc3339
from carom_common.topology import DEAD_EXECUTE_QUEUE
from carom_intake.domain.explaining.case import Case, last_error
from carom_intake.domain.explaining.parts import Step, quoted


def of_final(case: Case) -> Step:
    record = case.record
    at = record.time("completed")
    reason = record.text("reason")
    again = f"POST {case.job_path}/retry runs it again."
    calls = _calls(record.attempts)
    if record.status is Status.COMPLETED:
        return Step("completed", f"It is done, after {calls}.", _answer(case), _nothing(case), at)
    if record.status is Status.CANCELLED:
        why = "Somebody cancelled it: by its id, or with others by a filter."
        return Step("cancelled", f"It is over, after {calls}.", why, _nothing(case), at, again)
    if record.status is Status.EXPIRED:
        why = f"It had not finished at {record.time('expires') or 'its time'}."
        if record.attempts > record.number("base"):
            why += f" The last attempt failed: {last_error(case)}"
        return Step("expired", f"It is over, after {calls}.", why, _nothing(case), at, again)
    why = f"{quoted(record.text('error')) or reason or 'no reason is known'}."
    if record.text("dead") == "1":
        path = f"/api/dead-letters/{record.job_id}"
        spent = "It crashed whatever took it" if reason == "crash-loop" else f"Its retries are spent, after {calls}"
        return Step(
            "dead-letter",
            f"{spent}: it is kept among the dead letters, and its message in {DEAD_EXECUTE_QUEUE}.",
            why,
            "It stays there until somebody acts or its time there is over." + _then(case),
            at,
            f"POST {path}/redrive runs it again, with all its retries; DELETE {path} lets it go.",
        )
    return Step("failed", f"It failed for good, after {calls}.", why, _nothing(case), at, again)


def _calls(count: int) -> str:
    return "one attempt" if count == 1 else f"{count} attempts"


def _answer(case: Case) -> str:
    last = case.record.log[-1] if case.record.log else None
    return f"{case.host} answered {last.status_code}." if last and last.status_code else f"{case.host} answered."


def _nothing(case: Case) -> str:
    return "Nothing more is called." if not _then(case) else "Nothing more is called but its callback."


def _then(case: Case) -> str:
    return " Its callback goes its own way." if case.record.text("callback") == "pending" else ""


# What cannot be shown


def of_sealed(state: Mapping[str, str]) -> str:
    """What is said of a job that is kept encrypted with a key that is not known here."""
    return (
        f"its record says: {state['status']}, {state.get('attempt', '0')} attempts; the rest is shown when the "
        "key that is missing is back in CAROM_ENCRYPTION_KEYS of every service; who has it not, parks its messages"
    )


def of_outlived(state: Mapping[str, str]) -> str:
    """What is said of a job whose retention time is over, while what recognises late copies of its message is kept."""
    until = int(state.get("stale_until") or 0)
    kept = f" until {rfc3339(until)}" if until else ""
    return (
        f"no such job any more: it was {state['status']}, and its retention time is over. Only that is kept{kept}, "
        "so that a copy of its message that still arrives is dropped"
    )
