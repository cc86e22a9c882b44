"""Indexes of jobs: sorted sets of job ids by creation time, apart from the records, which stay the truth.

An entry may outlive what it says, for a moment or, after a crash, until the sweep: whoever reads an index looks at the
record too. Every key begins with `carom:idx:<tenant>:`.

  all                     every job that is kept
  open                    not final: the backlog
  status:<status>         failed, cancelled, expired
  host:<host[:port]>      by target
  label:<key>=<value>     by label
  reason:<code>           failed, by the reason of the error
  dead:execute|callback   in a dead-letter queue
  held                    waits for a pause, a limit or an open circuit
"""

from collections.abc import Mapping

from carom_common.adapters.store.batch import Command
from carom_common.contracts.job import FINAL_STATUSES, Job
from carom_common.domain.destinations import destination_of

INDEXED_STATUSES = ("failed", "cancelled", "expired")


def index_key(tenant: str, name: str) -> str:
    return f"carom:idx:{tenant}:{name}"


def enters(tenant: str, job_id: str, created: int, *names: str) -> tuple[Command, ...]:
    """Commands that put a job into indexes."""
    return tuple(("ZADD", f"carom:idx:{tenant}:{name}", created, job_id) for name in names)


def leaves(tenant: str, job_id: str, *names: str) -> tuple[Command, ...]:
    """Commands that take a job out of indexes."""
    return tuple(("ZREM", f"carom:idx:{tenant}:{name}", job_id) for name in names)


def lasting(job: Job) -> tuple[str, ...]:
    """The indexes that a job is in for as long as it is kept."""
    names = ("all", f"host:{destination_of(job.target_url)}")
    return (*names, *(f"label:{key}={value}" for key, value in job.labels.items())) if job.labels else names


def final(status: str, reason: str, dead: bool) -> tuple[str, ...]:
    """The indexes that a final status puts a job into: none for a completed one."""
    names: tuple[str, ...] = ()
    if status != "completed":
        names += (f"status:{status}",)
        if reason:
            names += (f"reason:{reason}",)
    return (*names, "dead:execute") if dead else names


def proper(state: Mapping[str, str]) -> tuple[str, ...]:
    """The indexes that a record must be in by its state, beside those by host and label, and `held`."""
    if state["status"] not in FINAL_STATUSES:
        return ("all", "open")
    names = ("all", *final(state["status"], state.get("reason", ""), state.get("dead") == "1"))
    dead = state.get("callback") == "failed" and state.get("callback_dead") == "1"
    return (*names, "dead:callback") if dead else names
