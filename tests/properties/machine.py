"""What may happen to Carom, in any order: each rule is a thing that clients, operators or nodes do."""

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from tests.properties import acting
from tests.properties.closing import check, check_stats, finish
from tests.properties.example import Example, Sent
from tests.properties.judging import PAUSE_GRACE
from tests.properties.model import JobModel, Spec
from tests.properties.plans import TEAMS, specs
from tests.properties.replicas import Replicas, Unknown
from tests.properties.telling import Telling, told
from tests.support.witness import Witness

SIDE_BY_SIDE = 12
"""Requests at once."""
KILLS, RESTARTS, HOLDS = 5, 2, 1
"""In one example, at most: each takes a second or more."""
HELD_SECONDS = 0.5
"""A job that nothing holds is called well before."""

_any_job = st.integers(0, 40)
_replica = st.integers(0, 1)
_what = st.sampled_from(("all", "host", *TEAMS))
_team = st.sampled_from(TEAMS)
_kill_after = st.sampled_from((1, 2, 3, 5, 8, 12, 20))
"""Milliseconds in which an intake takes some jobs, and not all."""


class Promises(Telling):
    """The machine. `ended` collects its examples."""

    def __init__(self, replicas: Replicas, witness: Witness, ended: list[Example]) -> None:
        super().__init__(Example(replicas, witness))
        self.replicas = replicas
        self.ended = ended
        self.kills = self.restarts = self.holds = 0

    def job(self, which: int, among: list[JobModel] | None = None) -> JobModel:
        """Of some jobs, or of all when those are none: the latest are the first."""
        jobs = among or self.example.jobs
        return jobs[-1 - which % len(jobs)]

    def has_jobs(self) -> bool:
        return bool(self.example.jobs)

    def may_be_killed(self) -> bool:
        return self.kills < KILLS

    # Clients

    @initialize(jobs=st.lists(specs(), min_size=3, max_size=8))
    @told
    def begin(self, jobs: list[Spec]) -> None:
        self.example.submit(self.example.compose(jobs, keyed=True, batch=True))

    @rule(spec=specs(), keyed=st.booleans())
    @told
    def submit(self, spec: Spec, keyed: bool) -> None:
        self.example.submit(self.example.compose([spec], keyed=keyed, batch=False))

    @rule(jobs=st.lists(specs(), min_size=1, max_size=6), keyed=st.booleans())
    @told
    def submit_batch(self, jobs: list[Spec], keyed: bool) -> None:
        self.example.submit(self.example.compose(jobs, keyed=keyed, batch=True))

    @rule(spec=specs())
    @told
    def submit_at_once(self, spec: Spec) -> None:
        """Many requests with one key, at all replicas."""
        sent = self.example.compose([spec], keyed=True, batch=False)
        clients = [self.replicas.new_client(intake) for intake in self.replicas.intakes()]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            asked = [pool.submit(self.example.post, sent, client) for client in clients * 4]
            answers = [answer.result() for answer in asked]
        for client in clients:
            client.close()
        assert {answer.status_code for answer in answers} <= {202, 409}, answers
        assert len({answer.json()["jobId"] for answer in answers if answer.status_code == 202}) == 1
        self.example.take(sent, next(answer for answer in answers if answer.status_code == 202))

    @precondition(lambda self: self.example.answered)
    @rule(which=_any_job, other=st.booleans())
    @told
    def repeat(self, which: int, other: bool) -> None:
        """The same request again gets the same answer; another one with its key is refused."""
        sent, ids = self.example.answered[which % len(self.example.answered)]
        if other:
            answer = self.example.post(sent._replace(body=sent.body + b" "))
            assert answer.status_code == 422, answer.text
            return
        answer = self.example.again(sent)
        assert answer.headers.get("idempotency-replayed") == "true", answer.headers
        given = [e["jobId"] for e in answer.json()["jobs"]] if sent.batch else [answer.json()["jobId"]]
        assert given == ids, f"{given}, at first {ids}"

    @rule(ms=st.sampled_from((100, 300, 1000)))
    @told
    def let_time_pass(self, ms: int) -> None:
        time.sleep(ms / 1000)
        self.example.note(f"{ms} ms")

    # Operators

    @precondition(has_jobs)
    @rule(which=_any_job)
    @told
    def cancel(self, which: int) -> None:
        acting.cancel(self.example, self.job(which, self.example.open()))

    @precondition(has_jobs)
    @rule(which=_any_job)
    @told
    def retry(self, which: int) -> None:
        others = [job for job in self.example.jobs if job.last.ended is None or job.last.ended.status != "completed"]
        acting.retry(self.example, self.job(which, others))

    @precondition(has_jobs)
    @rule(which=_any_job, kind=st.sampled_from(("execute", "callback", None)))
    @told
    def redrive(self, which: int, kind: acting.Dead | None) -> None:
        acting.redrive(self.example, self.job(which, self.example.dead(kind or "execute")), kind)

    @rule(team=_team)
    @told
    def cancel_by_filter(self, team: str) -> None:
        acting.cancel_all(self.example, team)

    @rule(team=_team, kind=st.sampled_from(("execute", "callback")))
    @told
    def redrive_by_filter(self, team: str, kind: acting.Dead) -> None:
        acting.redrive_all(self.example, team, kind)

    @rule(what=_what)
    @told
    def pause(self, what: str) -> None:
        self.example.pause(what)

    @precondition(lambda self: self.example.paused_since)
    @rule(what=_what)
    @told
    def resume(self, what: str) -> None:
        self.example.resume(what)

    @precondition(lambda self: self.holds < HOLDS)
    @rule(spec=specs(), what=st.sampled_from(("all", "host", "team")))
    @told
    def submit_in_a_pause(self, spec: Spec, what: str) -> None:
        """Long after it began: the job is not called before the end of the pause."""
        self.holds += 1
        self.example.pause(spec.team if what == "team" else what)
        time.sleep(PAUSE_GRACE)
        self.example.submit(self.example.compose([replace(spec, delay=0)], keyed=True, batch=False))
        time.sleep(HELD_SECONDS)

    # Nodes

    @precondition(may_be_killed)
    @rule(kind=st.sampled_from(("executor", "callback", "executor", "callback", "intake")), which=_replica)
    @told
    def kill(self, kind: str, which: int) -> None:
        if self.replicas.may_go(self.replicas.pick(kind, which)):
            self.example.kill(kind, which)
            self.kills += 1

    @precondition(lambda self: self.has_jobs() and self.may_be_killed())
    @rule(
        which=_replica,
        jobs=st.lists(specs(), min_size=3, max_size=6),
        job=_any_job,
        ms=st.sampled_from((1, 2, 3, 5, 8, 12, 20)),
    )
    @told
    def kill_intake_at_work(self, which: int, jobs: list[Spec], job: int, ms: int) -> None:
        """While it takes jobs, with keys and without, and cancels one."""
        example, doomed = self.example, self.replicas.pick("intake", which)
        if not self.replicas.may_go(doomed):
            return
        # What is sent without a key runs at once, or nobody knows for long whether it was taken.
        singles = [replace(spec, delay=0) for spec in jobs[1:]]
        requests = [example.compose([s], keyed=n % 2 == 0, batch=False) for n, s in enumerate(singles)]
        requests.append(example.compose(jobs, keyed=True, batch=True))
        asked: list[tuple[Sent, Future[httpx.Response]]] = []
        chosen = self.job(job, example.open())
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool, self.replicas.new_client(doomed) as client:
            asked = [(sent, pool.submit(example.post, sent, client)) for sent in requests]
            cancelled = pool.submit(self.replicas.ask_one, client, "DELETE", f"/api/jobs/{chosen.job_id}")
            time.sleep(ms / 1000)
            example.kill("intake", which)
        self.kills += 1
        with contextlib.suppress(Unknown):
            example.note(f"cancel {chosen.ref} meanwhile: {cancelled.result().status_code}")
        acting.cancel(example, chosen, again=True)
        for sent, answer in asked:
            try:
                example.take(sent, answer.result())
            except Unknown as error:
                example.unsure(sent, error)

    @precondition(lambda self: self.replicas.down())
    @rule()
    @told
    def start_again(self) -> None:
        self.example.start_all()

    @precondition(lambda self: self.restarts < RESTARTS)
    @rule(kind=st.sampled_from(("intake", "executor", "callback")), which=_replica)
    @told
    def restart(self, kind: str, which: int) -> None:
        """As a rollout does: what runs is finished, so that nothing is repeated."""
        service = self.replicas.pick(kind, which)
        if self.replicas.may_go(service):
            assert service.terminate() == 0
            self.replicas.start(service)
            self.restarts += 1
            self.example.note(f"{service.name} restarted")

    def teardown(self) -> None:
        self.ended.append(self.example)
        if self.failed:  # the next run finds all of them
            self.example.start_all()
            self.example.resume_all()
        else:
            self.close()

    @told
    def close(self) -> None:
        finish(self.example)
        check(self.example)
        self.example.kept = True
        if all(example.kept for example in self.ended):
            check_stats(self.ended)
