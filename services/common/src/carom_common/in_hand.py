"""What a consuming process has in hand, for `/debug/tasks` and `carom-fsck`: deliveries, and their destinations."""

import asyncio
from time import perf_counter
from typing import Any

from carom_common.gate import Gate
from carom_common.hosts import Host
from carom_common.work import M, Work
from carom_common.workloop import WorkLoop

MAX_DELIVERIES = 1000
MAX_HOSTS = 100


def deliveries(work_loop: WorkLoop[M], gate: Gate[Work[M]]) -> dict[str, Any]:
    """How many are where, and what is known of each; what runs comes first, and of that what runs longest."""
    now = perf_counter()
    places = work_loop.in_hand() | {"waiting at the gate": gate.waiting_here()}
    shown = [
        _delivery(work, place, now)
        for place, found in places.items()
        for work in sorted(found, key=lambda work: work.marks.arrived)[:MAX_DELIVERIES]
    ]
    return {
        "slots": work_loop.slots,
        "counts": {place: len(found) for place, found in places.items()},
        "shown": shown[:MAX_DELIVERIES],
    }


def jobs(work_loop: WorkLoop[M], gate: Gate[Work[M]]) -> set[str]:
    """The jobs of all deliveries that are neither acknowledged nor handed back."""
    places = (*work_loop.in_hand().values(), gate.waiting_here())
    return {work.message.job_id for found in places for work in found}


def _delivery(work: Work[Any], place: str, now: float) -> dict[str, Any]:
    running = bool(work.step)
    return {
        "jobId": work.message.job_id,
        "tenant": work.message.tenant,
        "generation": work.message.generation,
        "attempt": work.message.number,
        "queue": work.delivery.queue,
        "place": place,
        "seconds": round(now - work.marks.arrived, 3),
        "step": work.step if running else None,
        "stepSeconds": round(now - work.step_at, 3) if running else None,
        "leaseRenewedSecondsAgo": round(now - work.renewed_at, 3) if work.leased else None,
        "channel": "open" if work.alive else "gone",
        "destination": work.gate_pass.host.name if work.gate_pass is not None else None,
    }


def destinations(gate: Gate[Work[M]]) -> dict[str, Any]:
    """Those that something is called at or waits for, or whose circuit is not closed; where most waits comes first."""
    now = asyncio.get_running_loop().time()
    active = sorted(gate.active_hosts(), key=lambda host: (-len(host.waiting), -host.running, host.name))
    return {"total": len(active), "shown": [_destination(host, now) for host in active[:MAX_HOSTS]]}


def _destination(host: Host[Any], now: float) -> dict[str, Any]:
    return {
        "host": host.name,
        "running": host.running,
        "waiting": len(host.waiting),
        "oldestWaitSeconds": round(now - host.waiting[0][0], 3) if host.waiting else None,
        "permits": host.granted if now < host.granted_until else 0,
        "limit": host.limits.concurrency,
        "ratePerSecond": host.limits.rate or None,
        "circuit": host.circuit.state(now),
    }
