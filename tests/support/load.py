"""Submitting jobs whose outcome is known in advance, and judging what became of them."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import aiohttp
from tests.support.witness import LoopThread, Witness

from devstack.process import wait_until

CONCURRENT = 32
AGAIN_SECONDS = 0.1
RECORDS_SECONDS = 300.0
CALLBACK_ATTEMPTS = 8
"""As CAROM_CALLBACK_DELAYS of the tests' stacks has it."""


class Kind(NamedTuple):
    """A sort of job: plans of its target and receiver, and how it must end."""

    name: str
    target: str
    max_retries: int
    status: str
    attempts: int
    receiver: str | None = "200"
    """None: nobody is called back."""
    retry_delay: int = 100
    fill: int = 0
    """Bytes of payload beside the name."""
    taken: bool = True
    """Whether the receiver takes the callback in the end; if not, a dead letter is kept of it."""


KINDS = (
    Kind("succeeds", "200:20", 3, "completed", 1),
    Kind("slow", "200:400", 3, "completed", 1),
    Kind("retried", "503:20,503:50,200:50", 3, "completed", 3),
    Kind("exhausted", "503:20", 1, "failed", 2),
    Kind("refused", "404:20", 3, "failed", 1),
    Kind("late callback", "200:20", 3, "completed", 1, "503:400,200:100"),
    # What it settled long ago is in the record, what it just claimed may be forgotten.
    Kind("patient", "503:20,200:800", 3, "completed", 2, "200", 1600),
)
MIXED = [KINDS[n] for n in (0, 6, 1, 2, 0, 3, 5, 2, 1, 4)]
"""What `Load` submits in turn: mostly successes, some of everything."""


def _called_back(kind: Kind) -> str:
    """The status of its callback in the end."""
    if kind.receiver is None:
        return "none"
    return "delivered" if kind.taken else "failed"


class Submission(NamedTuple):
    """One request of a load, by the monotonic clock."""

    at: float
    took: float
    answer: str
    """The status, or the name of the error that came instead."""
    job_id: str | None
    told_when: bool
    """Whether the answer has a `Retry-After`."""


class Verdict(NamedTuple):
    """What became of the jobs of one scenario."""

    accepted: int
    lost: int
    """Accepted and never called."""
    wrong: int
    """Called back with something else than what happened, or under two webhook-ids."""
    missing: int
    """Without a callback that its receiver took."""
    repeated_calls: int
    repeated_callbacks: int
    records: int
    """Records that do not show the outcome, unless the scenario destroys records."""


class Load:
    """Jobs of one scenario. Whatever is not answered with 202 is submitted again as a new job.

    `headers` go with every request; an answer that is neither 202 nor in `refusals` fails the scenario. `keep_alive`
    False makes a connection a request, as through a balancer that knows no requests.
    """

    def __init__(
        self,
        api: str,
        witness: Witness,
        thread: LoopThread,
        kinds: Iterable[Kind] = MIXED,
        headers: Mapping[str, str] | None = None,
        refusals: Collection[int] = (503,),
        answer_seconds: float = 10,
        keep_alive: bool = True,
    ) -> None:
        self.api = api
        self.records_api = api
        """Where records are read; whoever has a faster way may name it."""
        self.witness = witness
        self.answers: Counter[str] = Counter()
        """How often each status came, and each error instead of one."""
        self.submissions: list[Submission] = []
        self.accepted: dict[str, tuple[Kind, float]] = {}
        self.refused = 0
        self._thread = thread
        self._headers = dict(headers or {})
        self._refusals = refusals
        self._answer_seconds = answer_seconds
        self._keep_alive = keep_alive
        self._kinds = itertools.cycle(kinds)
        self._stopped = False
        self._held = False

    # Submitting

    def burst(self, count: int) -> "Future[None]":
        """Submit `count` jobs as fast as they are taken."""
        return self._thread.start(self._burst(count))

    def steady(self, rate: float) -> "Future[None]":
        """Submit at a steady rate until `stop()`; a refused job is one of the next second's, not one more."""
        return self._thread.start(self._steady(rate))

    def stop(self) -> None:
        self._stopped = True

    def hold(self, held: bool = True) -> None:
        """Submit nothing for a while; what would have been submitted then never is."""
        self._held = held

    async def _burst(self, count: int) -> None:
        left = iter(range(count))

        async def worker(session: aiohttp.ClientSession) -> None:
            for _ in left:
                kind = next(self._kinds)
                await self._until_accepted(session, kind)

        async with self._session(self._answer_seconds) as session, asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT):
                group.create_task(worker(session))

    async def _until_accepted(self, session: aiohttp.ClientSession, kind: Kind) -> None:
        if not await self._submit(session, kind):
            await asyncio.sleep(AGAIN_SECONDS)
            await self._until_accepted(session, kind)

    async def _steady(self, rate: float) -> None:
        start = time.monotonic()
        async with self._session(self._answer_seconds) as session, asyncio.TaskGroup() as group:
            for n in itertools.count(1):
                if self._stopped:
                    return
                if not self._held:
                    group.create_task(self._submit(session, next(self._kinds)))
                await asyncio.sleep(max(0.0, start + n / rate - time.monotonic()))

    async def _submit(self, session: aiohttp.ClientSession, kind: Kind) -> bool:
        body = {
            "targetUrl": self.witness.target(kind.target),
            "callbackUrl": None if kind.receiver is None else self.witness.receiver(kind.receiver),
            "method": "POST",
            "payload": {"kind": kind.name, **({"fill": "x" * kind.fill} if kind.fill else {})},
            "maxRetries": kind.max_retries,
            "retryDelay": kind.retry_delay,
            "retry": {"strategy": "fixed"},
        }
        start, job_id, told_when = time.monotonic(), None, False
        try:
            async with session.post(f"{self.api}/api/jobs", json=body) as response:
                text, answer = await response.text(), str(response.status)
                told_when = "Retry-After" in response.headers
                if response.status == 202:
                    job_id = str(json.loads(text)["jobId"])
                    self.accepted[job_id] = (kind, time.monotonic())
                else:
                    assert self._is_refusal(response.status, text), f"{response.status} {text}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answer = type(error).__name__
        self.answers[answer] += 1
        self.submissions.append(Submission(start, time.monotonic() - start, answer, job_id, told_when))
        if job_id is None:
            self.refused += 1
        return job_id is not None

    def _is_refusal(self, status: int, answer: str) -> bool:
        """Of a 500 only a proxy's own: that of a service is a document, and a mistake."""
        return status in self._refusals and not (status == 500 and answer.startswith("{"))

    # Judging

    def unfinished(self) -> list[str]:
        """Jobs whose callback nobody took yet, or, without one, whose last attempt was not made."""
        return [job_id for job_id, (kind, _) in list(self.accepted.items()) if not self._is_finished(job_id, kind)]

    def _is_finished(self, job_id: str, kind: Kind) -> bool:
        if kind.receiver is not None and not kind.taken:
            return len(self.witness.callbacks.get(job_id, ())) >= CALLBACK_ATTEMPTS
        if kind.receiver is not None:
            return bool(self.witness.taken(job_id))
        return any(call.attempt >= kind.attempts for call in self.witness.called(job_id))

    def await_callbacks(self, seconds: float) -> None:
        """Return when every accepted job is finished and called back, at the latest after `seconds`."""
        wait_until(lambda: not self.unfinished(), seconds)

    def records(self, jobs: Iterable[str] | None = None) -> dict[str, dict[str, Any] | None]:
        """The typed record of every accepted job (or of these), None where there is none."""
        return self._thread.run(self._records(list(self.accepted if jobs is None else jobs)), RECORDS_SECONDS)

    def settled_records(self, seconds: float = 10) -> dict[str, dict[str, Any] | None]:
        """The records as soon as all show their outcome, at the latest after `seconds`."""
        records = self.records()

        def settled() -> bool:
            stale = self.stale(records)
            records.update(self.records(stale) if stale else {})
            return not stale

        wait_until(settled, seconds)
        return records

    def stale(self, records: dict[str, dict[str, Any] | None]) -> list[str]:
        """Jobs whose record is missing or shows anything but their outcome and the delivered callback, if any."""
        return [
            job_id
            for job_id, (kind, _) in self.accepted.items()
            if (record := records[job_id]) is None
            or record["status"] != kind.status
            or len(record["attemptsLog"]) != kind.attempts
            or record["callback"]["status"] != _called_back(kind)
        ]

    async def _records(self, jobs: list[str]) -> dict[str, dict[str, Any] | None]:
        limit = asyncio.Semaphore(CONCURRENT)

        async def fetch(session: aiohttp.ClientSession, job_id: str) -> dict[str, Any] | None:
            async with limit, session.get(f"{self.records_api}/api/jobs/{job_id}") as response:
                # Unknown, or not to be had now: the same to who asks, who asks again.
                text = await response.text()
                assert response.status in (200, 404) or self._is_refusal(response.status, text), text
                return dict(await response.json()) if response.status == 200 else None

        async with self._session(30) as session:
            return dict(zip(jobs, await asyncio.gather(*(fetch(session, job_id) for job_id in jobs)), strict=True))

    def wrong(self) -> list[str]:
        """Jobs whose callbacks say something else than what happened, or do not share one webhook-id."""
        return [
            job_id
            for job_id, (kind, _) in self.accepted.items()
            if (callbacks := list(self.witness.callbacks.get(job_id, ())))
            and (
                kind.receiver is None
                or any(
                    (c.status, c.attempts, c.logged) != (kind.status, kind.attempts, kind.attempts) for c in callbacks
                )
                or len({callback.webhook_id for callback in callbacks}) > 1
            )
        ]

    def _session(self, seconds: float) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, force_close=not self._keep_alive)
        timeout = aiohttp.ClientTimeout(seconds)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers, trust_env=False)

    def repeated_calls(self) -> int:
        calls = (self.witness.called(job_id) for job_id in list(self.accepted))
        return sum(len(made) - len({call.attempt for call in made}) for made in calls)

    def repeated_callbacks(self) -> int:
        return sum(max(0, len(self.witness.taken(job_id)) - 1) for job_id in list(self.accepted))

    def verdict(self, stale: int) -> Verdict:
        return Verdict(
            len(self.accepted),
            sum(not self.witness.called(job_id) for job_id in self.accepted),
            len(self.wrong()),
            len(self.unfinished()),
            self.repeated_calls(),
            self.repeated_callbacks(),
            stale,
        )
