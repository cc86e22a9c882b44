"""The end of an example: everything goes on, until nothing is left to do; then the promises are checked."""

import time
from collections import Counter
from typing import Any

from tests.properties.acting import retry
from tests.properties.example import Example, is_ahead
from tests.properties.judging import dead_kinds
from tests.properties.model import FINAL

from devstack.process import wait_until

DONE_WITHIN = 60.0
"""Seconds: what is held for a pause comes back within 25, what a killed process had leased within 4."""
AGREES_WITHIN = 30.0
"""Seconds: what a killed intake owed is told by another after 10, which first takes its duty over."""

Records = dict[str, dict[str, Any]]


def finish(example: Example) -> None:
    """Bring everything to its end; fails when a job has none."""
    example.start_all()
    example.resume_all()
    deadline = time.monotonic() + DONE_WITHIN
    while unfinished := _unfinished(example):
        assert time.monotonic() < deadline, f"no end: {unfinished}"
        time.sleep(0.2)


def _unfinished(example: Example) -> list[dict[str, Any]]:
    example.adopt()
    left = []
    for job in example.jobs:
        document = example.record(job)
        if is_ahead(document):  # nobody waits for that here
            retry(example, job)
        if document["status"] not in FINAL or document["callback"]["status"] == "pending":
            left.append(document)
    return left


def check(example: Example) -> None:
    """Records, callbacks and calls; lists and dead letters. What is told a moment later is waited for."""
    found: list[str] = []
    documents: Records = {}

    def agrees() -> bool:
        documents.update(example.records(example.jobs))
        found[:] = [*example.problems(documents), *list_problems(example, documents)]
        return not found

    assert wait_until(agrees, AGREES_WITHIN, 0.3), "\n".join(found)
    ends = Counter(f"{document['status']}/{document['callback']['status']}" for document in documents.values())
    example.note(f"{len(example.jobs)} jobs: {dict(ends)}")


def list_problems(example: Example, documents: Records) -> list[str]:
    """Lists that do not show exactly the jobs that they should."""
    label = f"label=run%3D{example.run}"
    by_status: dict[str, set[str]] = {"": set(documents)}
    for status in FINAL:
        by_status[f"&status={status}"] = {i for i, document in documents.items() if document["status"] == status}
    wanted = {f"jobs?{label}{query}": ids for query, ids in by_status.items()}
    for kind in ("execute", "callback"):
        dead = {job.job_id for job in example.jobs if kind in dead_kinds(job, documents[job.job_id])}
        wanted[f"dead-letters?{label}&kind={kind}"] = dead
    problems = []
    for query, ids in wanted.items():
        listed = example.replicas.pages(f"/api/{query}", "deadLetters" if query.startswith("dead") else "jobs")
        counts = Counter(entry["jobId"] for entry in listed)
        if set(counts) != ids or max(counts.values(), default=1) > 1:
            missing, more = ids - set(counts), set(counts) - ids
            problems.append(f"{query} lacks {missing}, has {more} too, twice: {[i for i in counts if counts[i] > 1]}")
        for entry in listed:
            document = documents.get(entry["jobId"])
            if document and (entry["status"], entry["attempts"]) != (document["status"], document["attempts"]):
                problems.append(f"{query} shows {entry}")
    return problems


def check_stats(examples: list[Example]) -> None:
    """The figures of the tenant, when no example is under way: nothing else is submitted to this stack."""
    records = [(job, example.record(job)) for example in examples for job in example.jobs]
    dead = Counter(kind for job, document in records for kind in dead_kinds(job, document))
    wanted = {
        "depth": {"open": 0, "kept": len(records)},
        "running": 0,
        "held": 0,
        "dead": {"execute": dead["execute"], "callback": dead["callback"]},
        "oldestReadyAgeMs": 0,
    }
    figures: dict[str, Any] = {}

    def agree() -> bool:
        figures.update(examples[-1].replicas.get("/api/stats"))
        return all(figures[name] == value for name, value in wanted.items())

    assert wait_until(agree, AGREES_WITHIN, 0.5), f"{figures}, not {wanted}"
