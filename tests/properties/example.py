"""One example: jobs of its own, told apart by a label; what is asked about them, and what the answers mean for them."""

import itertools
import json
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
from tests.properties.judging import Evidence, Pause, judge
from tests.properties.model import JobModel, Spec
from tests.properties.plans import body_of
from tests.properties.replicas import Replicas, Unknown
from tests.support.witness import Witness

from devstack.process import wait_until

log = logging.getLogger(__name__)

KEY_FREE_WITHIN = 20.0
"""Seconds after which a key is free that a killed process held."""
AHEAD_SECONDS = 1.5
"""What is to run so much later has not begun."""


class Sent(NamedTuple):
    """A request that submits: the same body again is the same request."""

    refs: tuple[str, ...]
    specs: tuple[Spec, ...]
    body: bytes
    key: str | None
    batch: bool

    @property
    def path(self) -> str:
        return "/api/jobs/batch" if self.batch else "/api/jobs"

    @property
    def headers(self) -> dict[str, str]:
        key = {"Idempotency-Key": self.key} if self.key else {}
        return {"Content-Type": "application/json", **key}


class Example:
    """Its jobs, and all that was done."""

    def __init__(self, replicas: Replicas, witness: Witness) -> None:
        self.run = f"x{uuid.uuid4().hex[:10]}"
        self.replicas = replicas
        self.witness = witness
        self.jobs: list[JobModel] = []
        self.maybe: dict[str, Spec] = {}
        """By ref: submitted without a key, and nobody knows whether they were taken."""
        self.answered: list[tuple[Sent, list[str]]] = []
        """What was submitted with a key, and the ids that it got."""
        self.killed: set[str] = set()
        self.pauses: list[Pause] = []
        self.paused_since: dict[str, float] = {}
        self.journal: list[str] = []
        self.kept = False
        """Whether its promises were kept."""
        self._refs = itertools.count(1)

    def note(self, text: str) -> None:
        self.journal.append(text)
        log.info("%s %s", self.run, text)

    # Submitting

    def compose(self, specs: Sequence[Spec], *, keyed: bool, batch: bool) -> Sent:
        refs = tuple(f"r{next(self._refs)}" for _ in specs)
        labels = ({"run": self.run, "ref": ref} for ref in refs)
        bodies = [body_of(spec, label, self.witness) for spec, label in zip(specs, labels, strict=True)]
        document = {"jobs": bodies} if batch else bodies[0]
        key = f"{self.run}-{refs[0]}" if keyed else None
        return Sent(refs, tuple(specs), json.dumps(document).encode(), key, batch)

    def post(self, sent: Sent, client: httpx.Client | None = None) -> httpx.Response:
        """Raises Unknown. By any thread when a client is given."""
        client = client or self.replicas.client(self.replicas.intakes()[0])
        return self.replicas.ask_one(client, "POST", sent.path, content=sent.body, headers=sent.headers)

    def submit(self, sent: Sent) -> None:
        try:
            self.take(sent, self.post(sent))
        except Unknown as error:
            self.unsure(sent, error)

    def unsure(self, sent: Sent, error: Unknown) -> None:
        """With a key it is asked again; without one, the jobs are looked for in the end."""
        self.note(f"{sent.refs} unknown: {error}")
        if sent.key:
            self.take(sent, self.again(sent))
        else:
            self.maybe |= dict(zip(sent.refs, sent.specs, strict=True))

    def again(self, sent: Sent) -> httpx.Response:
        """The answer to a request with a key, as soon as nobody else is under way with it."""
        answers: list[httpx.Response] = []

        def given() -> bool:
            try:
                answers.append(self.post(sent))
            except Unknown:
                return False
            busy = answers[-1].status_code == 409
            if busy:
                assert answers[-1].headers["retry-after"].isdigit()
                assert answers[-1].json()["reason"] == "idempotency-key-in-use"
            unsure = answers[-1].status_code == 207 and 503 in {e["status"] for e in answers[-1].json()["jobs"]}
            return not busy and not unsure

        assert wait_until(given, KEY_FREE_WITHIN, 0.3), f"{sent.key} is not free: {answers[-1:]}"
        return answers[-1]

    def take(self, sent: Sent, answer: httpx.Response) -> list[str]:
        """New jobs, out of an answer."""
        assert answer.status_code == (207 if sent.batch else 202), f"{answer.status_code} {answer.text}"
        if not sent.batch:
            entries = [{"status": 202, "jobId": answer.json()["jobId"]}]
        else:
            entries = answer.json()["jobs"]
            assert [entry["index"] for entry in entries] == list(range(len(sent.refs)))
        statuses = {entry["status"] for entry in entries}
        assert statuses <= {202, 503}, answer.text
        if 503 in statuses and sent.key:
            return self.take(sent, self.again(sent))
        for ref, spec, entry in zip(sent.refs, sent.specs, entries, strict=True):
            if entry["status"] == 202:
                self.jobs.append(JobModel(ref, spec, entry["jobId"]))
                self.note(f"{ref} = {entry['jobId']}: {spec}")
            else:
                self.maybe[ref] = spec
        ids = [entry["jobId"] for entry in entries if entry["status"] == 202]
        if sent.key:
            self.answered.append((sent, ids))
        return ids

    def adopt(self) -> None:
        """Of the jobs that nobody knows of: those that were taken are jobs like any other."""
        if not self.maybe:
            return
        known = {job.job_id for job in self.jobs}
        for listed in self.replicas.pages(f"/api/jobs?label=run%3D{self.run}", "jobs"):
            ref = listed["labels"]["ref"]
            if listed["jobId"] not in known and ref in self.maybe:
                self.jobs.append(JobModel(ref, self.maybe.pop(ref), listed["jobId"]))
                self.note(f"{ref} was taken: {listed['jobId']}")

    # Looking

    def record(self, job: JobModel) -> dict[str, Any]:
        document = self.replicas.get(f"/api/jobs/{job.job_id}")
        job.seen(document, seconds_left(document))
        return document

    def records(self, jobs: Sequence[JobModel]) -> dict[str, dict[str, Any]]:
        return {job.job_id: self.record(job) for job in jobs}

    def open(self) -> list[JobModel]:
        """Jobs of which nobody knows that they ended."""
        return [job for job in self.jobs if job.last.ended is None]

    def dead(self, kind: str) -> list[JobModel]:
        """Jobs that are listed as dead letters."""
        listed = self.replicas.pages(f"/api/dead-letters?label=run%3D{self.run}&kind={kind}", "deadLetters")
        ids = {entry["jobId"] for entry in listed}
        return [job for job in self.jobs if job.job_id in ids]

    def evidence(self, job: JobModel, document: dict[str, Any]) -> Evidence:
        callbacks = list(self.witness.callbacks.get(job.job_id, ()))
        return Evidence(document, self.witness.called(job.job_id), callbacks, self.killed, self.pauses)

    # Pausing

    def selector(self, what: str) -> dict[str, Any]:
        """`all`, `host` (of the target), or a team."""
        if what == "all":
            return {}
        if what == "host":
            return {"host": self.witness.base.removeprefix("http://")}
        return {"label": {"key": "team", "value": what}}

    def pause(self, what: str) -> None:
        answer = self.replicas.ask("POST", "/api/pause", json=self.selector(what))
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["pauses"]) == len({*self.paused_since, what}), answer.text
        self.paused_since.setdefault(what, time.monotonic())
        self.note(f"{what} paused")

    def resume(self, what: str) -> None:
        until = time.monotonic()
        answer = self.replicas.ask("POST", "/api/resume", json=self.selector(what))
        assert answer.status_code == 200, answer.text
        since = self.paused_since.pop(what, None)
        if since is not None:
            self.pauses.append(Pause(None if what in ("all", "host") else what, since, until))
        self.note(f"{what} resumed")

    def resume_all(self) -> None:
        for what in tuple(self.paused_since):
            self.resume(what)

    # Dying

    def kill(self, kind: str, which: int) -> None:
        service = self.replicas.pick(kind, which)
        service.kill()
        self.killed.add(kind)
        self.note(f"{service.name} killed")

    def start_all(self) -> None:
        for service in self.replicas.down():
            self.replicas.start(service)
            self.note(f"{service.name} started")

    def problems(self, documents: dict[str, dict[str, Any]]) -> Iterator[str]:
        """What is wrong with any of the jobs."""
        for job in self.jobs:
            for text in judge(job, self.evidence(job, documents[job.job_id])):
                yield f"{job.ref} {job.job_id} {text}"


def seconds_left(document: dict[str, Any]) -> float | None:
    """Until the next attempt of a job that waits for it."""
    if document["status"] not in ("scheduled", "waiting") or document["nextAttemptAt"] is None:
        return None
    return (datetime.fromisoformat(document["nextAttemptAt"]) - datetime.now(UTC)).total_seconds()


def is_ahead(document: dict[str, Any]) -> bool:
    """Whether a job that waits is to run so much later that it has not begun."""
    return (seconds_left(document) or 0) > AHEAD_SECONDS
