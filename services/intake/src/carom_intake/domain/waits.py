"""Why a job waits, where its record cannot say so. Pure."""

from carom_common.contracts.job import OPEN_STATUSES, Status
from carom_common.domain.destinations import destination_of
from carom_common.domain.filters import JobHead
from carom_common.domain.pauses import Pauses

_HELD_BACK = OPEN_STATUSES - {Status.IN_PROGRESS}


def with_pause(state: dict[str, str], job: JobHead, tenant: str, pauses: Pauses, now: int) -> dict[str, str]:
    """The state with the wait reason `paused` where a pause holds a job that is due.

    While everything is paused nobody takes jobs out of the queues, so none of their records can tell.
    """
    if not pauses or state["status"] not in _HELD_BACK or state.get("wait_reason") or int(state.get("eta") or 0) > now:
        return state
    held = pauses.hold(tenant, destination_of(job.target_url), job.labels)
    return {**state, "wait_reason": "paused"} if held else state
