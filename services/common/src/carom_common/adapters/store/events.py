"""State changes as they happen: a Redis stream for each tenant, bounded in length, that intake's event streams read.

An entry has the fields `j` job id, `s` what happened (domain/happening.py lists it), `g` generation, `a` attempt, `t`
Unix milliseconds. The attempt is

  in_progress                                     the attempt that begins
  waiting completed failed cancelled expired      the last attempt that was made; 0: none was
  queued scheduled held                           the same
  callback.*                                      the attempt to call back that ended so, counted for itself

Entries are written right after the transition that they tell, in a slot of their own: a process that dies between the
two leaves one out, or tells it when its message comes again. So each is told once or, after a crash, not at all or
twice; the record stays the truth. An executor can be faster than intake: `queued` may then come late, see Order.
"""

from carom_common.adapters.store.batch import Command

KEPT_EVENTS = 100_000


def stream_key(tenant: str) -> str:
    return f"carom:events:{tenant}"


def event(tenant: str, job_id: str, what: str, generation: int, attempt: int, now: int) -> Command:
    """The command that tells a state change."""
    head = ("XADD", f"carom:events:{tenant}", "MAXLEN", "~", KEPT_EVENTS, "*")
    return (*head, "j", job_id, "s", what, "g", generation, "a", attempt, "t", now)
