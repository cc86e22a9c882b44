"""Carom beside its peers: rounds in which each runs once, medians of the rounds, ratios."""

from statistics import median
from typing import Any

from bench import peers
from bench.report import say, table, title

GOAL_RATIO = 1.5
LEAST = 0.01

COLUMNS: dict[str, tuple[str, ...]] = {
    "accepted/s": ("accepted_per_s",),
    "jobs/s": ("jobs_per_s_end_to_end",),
    "submit p99": ("submit_p99_ms",),
    "CPU app": ("cpu_ms_per_job", "app"),
    "broker": ("cpu_ms_per_job", "broker"),
    "redis": ("cpu_ms_per_job", "redis"),
    "stack": ("cpu_ms_per_job", "stack"),
    "p50": ("low_rate", "to_callback_ms", "50"),
    "p99": ("low_rate", "to_callback_ms", "99"),
}
Medians = dict[str, dict[str, float | None]]


def measure(rounds: int, others: bool, seconds: int, connections: int, rate: float) -> dict[str, Any]:
    names = peers.USUAL + (peers.OTHERS if others else ())
    title(f"side by side: {rounds} rounds of {', '.join(names)}; {connections} connections for {seconds} s")
    say(f"  run.py empties the RabbitMQ on port {peers.AMQP} and the Redis on port {peers.REDIS}")
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    noise: set[str] = set()
    with peers.servers():
        for number in range(1, rounds + 1):
            for name in names:
                if strangers := peers.strangers():
                    if not noise:
                        say(f"  careful: {strangers}")
                    noise.add(strangers)
                result = peers.run(name, seconds, connections, rate)
                runs[name].append(result)
                cpu, jobs = result["cpu_ms_per_job"]["stack"], result["jobs_per_s_end_to_end"]
                say(f"  round {number}, {name}: {jobs} jobs/s, {cpu:.3f} CPU-ms a job")
    medians = {name: summary(results) for name, results in runs.items()}
    ratios = {name: ratio(medians["ours"], medians[name]) for name in ("seed-node", "bullmq")}
    _print(medians, ratios, rate)
    return {"runs": runs, "medians": medians, "ratios": ratios, "noise": sorted(noise), "problems": _problems(runs)}


def summary(results: list[dict[str, Any]]) -> dict[str, float | None]:
    """The median of each column, without the runs that have no figure."""
    row: dict[str, float | None] = {}
    for column, path in COLUMNS.items():
        values = [value for value in (_find(result, path) for result in results) if value is not None]
        row[column] = median(values) if values else None
    return row


def ratio(ours: dict[str, float | None], theirs: dict[str, float | None]) -> dict[str, float | None]:
    """Ours as a multiple of theirs, by column; None where theirs is next to nothing (a peer without a broker)."""
    row: dict[str, float | None] = {}
    for column in COLUMNS:
        mine, other = ours[column], theirs[column]
        row[column] = mine / other if mine is not None and other is not None and other >= LEAST else None
    return row


def _find(result: dict[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = result
    for key in path:
        value = value[key] if value is not None else None
    return None if value is None else float(value)


def _print(medians: Medians, ratios: Medians, rate: float) -> None:
    say(f"\n  medians; CPU in ms a job, p50 and p99 in ms from submission to callback at {rate:g} jobs/s")
    rows = [[name, *row.values()] for name, row in medians.items()]
    rows += [[f"ours / {name}", *row.values()] for name, row in ratios.items()]
    table(["", *COLUMNS], rows)
    for column, what in (("stack", "CPU a job"), ("p50", "p50")):
        found = ratios["seed-node"][column]
        if found is not None:
            met = "within" if found <= GOAL_RATIO else "over"
            say(f"  {what} is {found:.2f} times the seed's: {met} the goal of {GOAL_RATIO}")


def _problems(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Only of ours: what the peers lose is theirs."""
    said = []
    for result in runs["ours"]:
        low = result["low_rate"]
        if (lost := result["accepted"] - result["called_back"]) > 0:
            said.append(f"{lost} callbacks did not come under load")
        if result["rejected"]:
            said.append(f"{result['rejected']} submissions were rejected")
        if low["called_back"] < low["sent"]:
            said.append(f"{low['sent'] - low['called_back']} callbacks did not come at the low rate")
    return said
