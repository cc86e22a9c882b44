"""Jobs of a scenario's own, beside its load: each has an end that is known in advance, and is judged by its record."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiohttp
from tests.chaos.stage import Stage

CONCURRENT = 16
AGAIN_SECONDS = 0.2
FINAL = ("completed", "failed", "cancelled", "expired")


class Errand(NamedTuple):
    name: str
    body: dict[str, Any]
    status: str = "completed"
    attempts: int | None = None
    """How many; None for any number."""
    callback: str = "none"
    """`delivered`, `failed`, or `none` where nobody is to be called back."""


class Errands:
    """Submitted in any order; one that is not accepted is sent again under the same Idempotency-Key."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.accepted: dict[str, Errand] = {}

    def submit(self, errands: Sequence[Errand], seconds: float = 60) -> None:
        """Return when all are accepted."""
        self._stage.thread.run(self._submit(errands), seconds)

    def submit_together(self, errands: Sequence[Errand], seconds: float = 60) -> None:
        """In one request; return when it is answered, and all are accepted."""
        self._stage.thread.run(self._submit_together(errands), seconds)

    def judge(self, seconds: float) -> None:
        """AssertionError unless all end as they should within so many seconds."""
        wrong = self._stage.thread.run(self._wrong(seconds), seconds + 60)
        assert not wrong, f"{len(wrong)} of {len(self.accepted)} errands ended wrongly: {'; '.join(wrong[:5])}"

    async def _submit(self, errands: Sequence[Errand]) -> None:
        limit = asyncio.Semaphore(CONCURRENT)

        async def one(session: aiohttp.ClientSession, errand: Errand) -> None:
            headers = {"Idempotency-Key": uuid.uuid4().hex}
            async with limit:
                job_id = await _accepted(session, errand, headers)
                while job_id is None:
                    await asyncio.sleep(AGAIN_SECONDS)
                    job_id = await _accepted(session, errand, headers)
            self.accepted[job_id] = errand

        async with self._session() as session, asyncio.TaskGroup() as group:
            for errand in errands:
                group.create_task(one(session, errand))

    async def _submit_together(self, errands: Sequence[Errand]) -> None:
        body, headers = {"jobs": [errand.body for errand in errands]}, {"Idempotency-Key": uuid.uuid4().hex}
        async with self._session() as session:
            entries = await _entries(session, body, headers)
            while entries is None:
                await asyncio.sleep(AGAIN_SECONDS)
                entries = await _entries(session, body, headers)
        self.accepted |= {entry["jobId"]: errand for entry, errand in zip(entries, errands, strict=True)}

    async def _wrong(self, seconds: float) -> list[str]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        left = dict(self.accepted)
        limit = asyncio.Semaphore(CONCURRENT)

        async def judged(session: aiohttp.ClientSession, job_id: str) -> str | None:
            async with limit:
                return _judgement(left[job_id], await _record(session, job_id))

        async with self._session() as session:
            while True:
                whys = await asyncio.gather(*(judged(session, job_id) for job_id in left))
                wrong = {job_id: why for job_id, why in zip(left, whys, strict=True) if why is not None}
                if not wrong or loop.time() > deadline:
                    return [f"{left[job_id].name} ({job_id}) {why}" for job_id, why in wrong.items()]
                left = {job_id: left[job_id] for job_id in wrong}
                await asyncio.sleep(AGAIN_SECONDS)

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        return aiohttp.ClientSession(
            self._stage.balancer.url, connector=connector, timeout=aiohttp.ClientTimeout(10), trust_env=False
        )


async def _accepted(session: aiohttp.ClientSession, errand: Errand, headers: dict[str, str]) -> str | None:
    try:
        async with session.post("/api/jobs", json=errand.body, headers=headers) as answer:
            document = await answer.json(content_type=None)
            assert answer.status in (202, 409, 503), f"{errand.name}: {answer.status} {document}"
            return str(document["jobId"]) if answer.status == 202 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


async def _entries(
    session: aiohttp.ClientSession, body: dict[str, Any], headers: dict[str, str]
) -> list[dict[str, Any]] | None:
    """None when the batch is to be sent again."""
    try:
        async with session.post("/api/jobs/batch", json=body, headers=headers) as answer:
            document = await answer.json(content_type=None)
            assert answer.status in (207, 409, 503), f"{answer.status} {document}"
            entries: list[dict[str, Any]] = document["jobs"] if answer.status == 207 else []
            return entries if entries and all(entry["status"] == 202 for entry in entries) else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


async def _record(session: aiohttp.ClientSession, job_id: str) -> dict[str, Any] | None:
    try:
        async with session.get(f"/api/jobs/{job_id}") as answer:
            return dict(await answer.json()) if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


def _judgement(errand: Errand, record: dict[str, Any] | None) -> str | None:
    """What is not as it should be, or not yet."""
    if record is None:
        return "has no record"
    if record["status"] != errand.status:
        return f"is {record['status']} ({record['error'] or 'no error'}) in place of {errand.status}"
    if errand.attempts is not None and record["attempts"] != errand.attempts:
        return f"was called {record['attempts']} times in place of {errand.attempts} ({record['error']})"
    if record["callback"]["status"] != errand.callback:
        return f"has a callback that is {record['callback']['status']} in place of {errand.callback}"
    return None
