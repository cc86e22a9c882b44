"""Acts on the jobs of an example: one by one and by filter; each is answered, and the answer must fit what is known."""

import time
from typing import Any, Literal

from tests.properties.example import Example, is_ahead
from tests.properties.judging import dead_kinds
from tests.properties.model import FINAL, JobModel

from devstack.process import wait_until

BULK_WITHIN = 40.0
"""Seconds for a bulk act whose replica may have been killed."""
Dead = Literal["execute", "callback"]


def cancel(example: Example, job: JobModel, *, again: bool = False) -> None:
    """`again`: it was asked for before, and that answer was lost."""
    before = example.record(job)
    known = job.last.cancelled_at is not None
    assert known or again or before["status"] != "cancelled", f"{job.job_id} was cancelled by nobody"
    answer = example.replicas.ask("DELETE", f"/api/jobs/{job.job_id}")
    at = time.monotonic()
    example.note(f"cancel {job.ref}, {before['status']}: {answer.status_code}")
    if answer.status_code == 200:
        assert answer.json()["status"] == "cancelled", answer.text
        if not known:  # else its callback was owed still
            job.cancelled(answer.json(), at, never_begun=is_ahead(before))
        return
    after = example.record(job)
    assert (answer.status_code, answer.json()["reason"]) == (409, f"job-{after['status']}"), answer.text
    if after["status"] == "cancelled" and not known:  # by the request whose answer was lost
        job.cancelled(after, at, never_begun=is_ahead(before))


def retry(example: Example, job: JobModel) -> None:
    before = example.record(job)
    answer = example.replicas.ask("POST", f"/api/jobs/{job.job_id}/retry")
    after = example.record(job)
    example.note(f"retry {job.ref}, {before['status']}: {answer.status_code}")
    if answer.status_code == 202:
        given = answer.json()
        assert given["generation"] == job.last.number + 1, answer.text
        job.runs_again(before, after, given["attempts"])
        return
    assert answer.status_code == 409, answer.text
    assert answer.json()["reason"] in ("job-queued", "job-in-progress", "job-completed"), answer.text
    assert before["status"] not in ("failed", "cancelled", "expired"), answer.text
    if after["generation"] == job.last.number + 1:  # by a request whose answer was lost
        job.runs_again(before, after, None)


def redrive(example: Example, job: JobModel, kind: Dead | None) -> None:
    before = example.record(job)
    settled = before["status"] in FINAL and before["callback"]["status"] != "pending"
    known = dead_kinds(job, before) if before["status"] in FINAL else set()
    query = f"?kind={kind}" if kind else ""
    answer = example.replicas.ask("POST", f"/api/dead-letters/{job.job_id}/redrive{query}")
    after = example.record(job)
    example.note(f"redrive {kind} of {job.ref}, dead by {sorted(known)}: {answer.status_code}")
    if kind is None and len(known) == 2:
        assert (answer.status_code, answer.json()["reason"]) == (409, "kind"), answer.text
        return
    asked = {kind} if kind else known
    if answer.status_code == 202:
        assert asked & known or not settled, f"{job.job_id} was not dead: {answer.text}"
        if answer.json()["generation"] == job.last.number + 1:
            job.runs_again(before, after, answer.json()["attempts"])
        else:
            assert kind != "execute", answer.text
            assert answer.json()["generation"] == job.last.number, answer.text
            job.callback_redriven()
        return
    assert answer.status_code in (404, 409), answer.text
    assert not asked & known, f"{job.job_id} is dead by {known}: {answer.text}"


def cancel_all(example: Example, team: str) -> None:
    """Cancel by filter: whatever is open then is cancelled, or had ended by itself."""
    example.adopt()
    jobs = [job for job in example.jobs if job.spec.team == team]
    before = example.records(jobs)
    handle = _bulk(example, "/api/jobs/cancel", {"labels": {"run": example.run, "team": team}})
    at, after = time.monotonic(), example.records(jobs)
    cancelled = 0
    for job in jobs:
        was, now = before[job.job_id], after[job.job_id]
        if was["status"] in FINAL:
            assert (now["status"], now["generation"]) == (was["status"], was["generation"]), f"{job.job_id}: {now}"
            continue
        assert now["status"] in FINAL, f"{job.job_id} was not cancelled: {now}"
        if now["status"] == "cancelled":
            cancelled += 1
            job.cancelled(now, at, never_begun=is_ahead(was))
    if not example.maybe:
        assert handle["cancelled"] == cancelled, f"{handle}, {cancelled} were"


def redrive_all(example: Example, team: str, kind: Dead) -> None:
    """Redrive by filter: every job that was dead before, and perhaps those that died meanwhile."""
    example.adopt()
    jobs = [job for job in example.jobs if job.spec.team == team]
    before = example.records(jobs)
    body = {"labels": {"run": example.run, "team": team}, "kind": kind}
    handle = _bulk(example, "/api/dead-letters/redrive", body)
    after = example.records(jobs)
    certain = possible = redriven = 0
    for job in jobs:
        was, now = before[job.job_id], after[job.job_id]
        dead = was["status"] in FINAL and kind in dead_kinds(job, was)
        pending = was["status"] not in FINAL or was["callback"]["status"] == "pending"
        certain += dead
        possible += dead or pending
        if kind == "execute":
            again = now["generation"] == job.last.number + 1
            assert again or not dead, f"{job.job_id} was dead, and not redriven: {now}"
            assert dead or not again or was["status"] not in FINAL, f"{job.job_id} was not dead: {was}"
            if again:
                redriven += 1
                job.runs_again(was, now, None)
        elif dead or pending:
            job.callback_redriven()
    assert example.maybe or certain <= handle["redriven"] <= possible, f"{handle}, dead were {certain} to {possible}"
    assert example.maybe or kind == "callback" or handle["redriven"] == redriven, f"{handle}, {redriven} were"


def _bulk(example: Example, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The handle when it is through."""
    replicas = example.replicas
    answer = replicas.ask("POST", path, json=body | {"rate": 1000})
    assert answer.status_code == 202, answer.text
    location = answer.headers["location"]
    done = wait_until(lambda: replicas.get(location)["status"] == "done", BULK_WITHIN, 0.1)
    handle = replicas.get(location)
    assert done, f"not done: {handle}"
    example.note(f"{path} {body}: {handle}")
    return handle
