"""Carom alone: jobs per second, CPU by component, latency."""

import asyncio
import time
from typing import Any

from bench.drain import drain, leftovers, problems
from bench.latency import latency
from bench.load import generate, submit_for
from bench.report import say, table, title
from bench.stand import COMPONENTS, Stand
from bench.usage import cpu_ms_each, cpu_seconds

WARM_UP_JOBS = 500
DRAIN_SECONDS = 240


def measure(seconds: int, connections: int, rate: float) -> dict[str, Any]:
    title(f"Carom alone: {connections} connections for {seconds} s, and {rate:g} jobs/s")
    with Stand() as stand:
        warm = generate(stand, WARM_UP_JOBS, 60)
        drain(stand.receiver, 0, warm.accepted, 60)
        low = asyncio.run(latency(stand.stack.api, rate, 6))
        time.sleep(1)
        used, before, start = cpu_seconds(stand.pids()), stand.receiver.count(), time.monotonic()
        submitted = submit_for(stand, seconds, connections)
        meanwhile, submitted_at = stand.receiver.count() - before, time.monotonic()
        drained = drain(stand.receiver, before, submitted.accepted, DRAIN_SECONDS)
        after = cpu_seconds(stand.pids())
        cpu = cpu_ms_each(used, after, drained.called_back)
        result = {
            "load": submitted._asdict(),
            "jobs_per_s": drained.called_back / (drained.ended - start),
            "while_submitting_per_s": meanwhile / (submitted_at - start),
            "after_per_s": (drained.called_back - meanwhile) / max(0.001, drained.ended - submitted_at),
            "cpu_ms_per_job": {name: round(value, 3) for name, value in cpu.items()}
            | {"stack": round(sum(cpu.values()), 3)},
            "low_rate": low,
            **leftovers(stand, submitted.accepted, drained),
        }
    _print(result)
    wrong = problems(result)
    if lost := low["accepted"] - low["called_back"]:
        wrong.append(f"{lost} callbacks did not come at {rate:g} jobs/s")
    return result | {"problems": wrong}


def _print(result: dict[str, Any]) -> None:
    load, low = result["load"], result["low_rate"]
    accepted = load["accepted"] / load["seconds"]
    say(f"  {load['accepted']} accepted ({accepted:.0f}/s by {load['by']}, p99 {load['p99_ms']:.0f} ms)")
    say(f"  {load['rejected']} rejected")
    meanwhile, after = result["while_submitting_per_s"], result["after_per_s"]
    say(f"  {result['jobs_per_s']:.0f} jobs/s end to end: {meanwhile:.0f} during submission, {after:.0f} after\n")
    table(["CPU, ms", *COMPONENTS, "stack"], [["a job", *result["cpu_ms_per_job"].values()]])
    say()
    rows = [
        [name, *low[key].values()] for name, key in (("to target", "to_target_ms"), ("to callback", "to_callback_ms"))
    ]
    table(["latency, ms", "p50", "p99", "max"], rows)
