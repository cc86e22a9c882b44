"""A job with what is around it, and what is often needed of both. Pure."""

from typing import NamedTuple

from carom_common.domain.clock import rfc3339
from carom_common.domain.pauses import Pause
from carom_common.topology import EXECUTE_QUEUES, HELD_EXECUTE_QUEUE, execute_key, lane_key
from carom_intake.domain.documents import Record
from carom_intake.domain.explaining.parts import Around, quoted


class Case(NamedTuple):
    """A job, what is around it, and what is often needed of both."""

    record: Record
    around: Around
    host: str
    pauses: list[Pause]

    @property
    def number(self) -> int:
        """Of the attempt that is next, or runs, counted within its generation from 1."""
        return self.record.attempts - self.record.number("base") + 1

    @property
    def total(self) -> int:
        return self.record.job.max_retries + 1

    @property
    def job_path(self) -> str:
        return f"/api/jobs/{self.record.job_id}"

    @property
    def ends(self) -> str:
        expires = self.record.number("expires")
        return f" It ends as expired at {rfc3339(expires)} if it has not finished by then." if expires else ""


def due_since(case: Case) -> int:
    return case.record.number("eta") or case.record.number("updated")


def queue_of(case: Case) -> str:
    """Nothing says in which of two queues a normal job is: that depends on what was known of its host then."""
    priority = case.record.job.priority
    name = EXECUTE_QUEUES[priority]
    certain = lane_key(priority, proven=False) == execute_key(priority)
    return f"the queue {name}" if certain else f"the queue {name} (or {HELD_EXECUTE_QUEUE}, for a host not heard from)"


def last_error(case: Case) -> str:
    last = case.record.log[-1] if case.record.log else None
    if last is None:
        return "nothing is known of it."
    answered = f"{case.host} answered {last.status_code}" if last.status_code else ""
    return f"{answered or quoted(last.error or '') or last.reason or 'no reason is known'}."
