"""Waiting until every accepted job has been called back."""

import time
from typing import Any, NamedTuple

from bench.nginx import Nginx
from bench.stand import Stand

STALL_SECONDS = 30


class Drained(NamedTuple):
    called_back: int
    ended: float
    """`time.monotonic()` of the last callback."""


def drain(receiver: Nginx, before: int, expected: int, seconds: float) -> Drained:
    """Until `expected` callbacks came since the count was `before`, none came for a while, or `seconds` are over."""
    came, changed, end = 0, time.monotonic(), time.monotonic() + seconds
    while came < expected and time.monotonic() < min(end, changed + STALL_SECONDS):
        if (now := receiver.count() - before) != came:
            came, changed = now, time.monotonic()
        time.sleep(0.05)
    return Drained(came, changed)


def leftovers(stand: Stand, accepted: int, drained: Drained) -> dict[str, Any]:
    """What is amiss after a drain: callbacks that are missing, or came twice, queues, errors in the logs."""
    time.sleep(1)
    complaints = stand.complaints()
    return {
        "missing_callbacks": max(0, accepted - drained.called_back),
        "queues": stand.queues(),
        "errors_logged": len(complaints),
        "first_error": complaints[0][:500] if complaints else None,
    }


def problems(found: dict[str, Any]) -> list[str]:
    """The same in words."""
    said = []
    if found["missing_callbacks"]:
        said.append(f"{found['missing_callbacks']} callbacks did not come; queues: {found['queues']}")
    if found["errors_logged"]:
        said.append(f"{found['errors_logged']} errors logged, the first: {found['first_error']}")
    return said
