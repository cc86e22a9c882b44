"""A backlog that built up while no executor ran: how fast it drains, and whether memory stays flat meanwhile."""

import time
from typing import Any

from bench.drain import drain, leftovers, problems
from bench.load import generate
from bench.report import say, table, title
from bench.stand import COMPONENTS, Stand
from bench.usage import Sample, cpu_ms_each, cpu_seconds, sampled
from devstack.errors import DevstackError
from devstack.services import KINDS

FLAT_MIB = 30
SETTLE_SECONDS = 5
SLOWEST_SUBMIT, SLOWEST_DRAIN = 500, 200
"""Jobs a second below which the measurement gives up."""


def measure(count: int) -> dict[str, Any]:
    title(f"backlog of {count} jobs")
    with Stand() as stand:
        if stand.stack.executor.terminate():
            raise DevstackError("the executor did not stop cleanly")
        submitted = generate(stand, count, 60 + count / SLOWEST_SUBMIT)
        say(f"  {submitted.accepted} accepted in {submitted.seconds:.0f} s, {submitted.rejected} rejected")
        stand.stack.executor.start()
        start, before, used = time.monotonic(), 0, cpu_seconds(stand.pids())
        with sampled(stand.pids) as samples:
            drained = drain(stand.receiver, before, submitted.accepted, 60 + count / SLOWEST_DRAIN)
            end, after = time.monotonic(), cpu_seconds(stand.pids())
            time.sleep(SETTLE_SECONDS)
        memory = {name: _memory(name, samples, start, end) for name in COMPONENTS}
        result = {
            "accepted": submitted.accepted,
            "drain_s": round(drained.ended - start, 1),
            "jobs_per_s": drained.called_back / (drained.ended - start),
            "cpu_ms_per_job": cpu_ms_each(used, after, drained.called_back),
            "memory_mib": memory,
            **leftovers(stand, submitted.accepted, drained),
        }
    say(f"  drained in {result['drain_s']} s: {result['jobs_per_s']:.0f} jobs/s end to end\n")
    cost = result["cpu_ms_per_job"]
    table(["CPU, ms a job", *cost, "stack"], [["drain", *cost.values(), sum(cost.values())]])
    table(
        ["memory, MiB", "start", f"after {SETTLE_SECONDS} s", "peak", "end", "growth"],
        [[n, *m.values()] for n, m in memory.items()],
    )
    wrong = problems(result)
    if submitted.accepted < count:
        wrong.append(f"only {submitted.accepted} of {count} jobs were accepted in time")
    if end - start < 2 * SETTLE_SECONDS:
        say(f"  the drain was too short to judge memory: at least {2 * SETTLE_SECONDS} s are needed")
    else:
        grown = [name for name in KINDS if (memory[name]["growth"] or 0) >= FLAT_MIB]
        say(f"  services: {'not flat: ' + ', '.join(grown) if grown else 'flat'} (growth below {FLAT_MIB} MiB)")
        wrong += [f"memory of {name} grew by {memory[name]['growth']:.0f} MiB" for name in grown]
    return result | {"problems": wrong}


def _memory(name: str, samples: list[Sample], start: float, end: float) -> dict[str, float | None]:
    """When the executor was up, some seconds later, the most of the drain, after it; growth from the second on."""
    values = [(sample.at - start, sample.mib[name]) for sample in samples if name in sample.mib]
    drain = [mib for at, mib in values if at <= end - start + 1]
    settled = next((mib for at, mib in values if at >= SETTLE_SECONDS), None)
    peak = max(drain)
    figures = (values[0][1], settled, peak, values[-1][1], None if settled is None else peak - settled)
    names = ("start", "settled", "peak", "end", "growth")
    return {n: None if f is None else round(f, 1) for n, f in zip(names, figures, strict=True)}
