"""A small client of Carom's API."""

import json
from typing import Any

import httpx
from tests.support.waiting import WITHIN, eventually

from devstack.services import Service

FINAL = ("completed", "failed", "cancelled", "expired")


async def connected(service: Service) -> None:
    """Until a replica that was just started has its broker: it is ready before that."""
    async with httpx.AsyncClient(trust_env=False) as client:

        async def is_connected() -> bool:
            checks: dict[str, str] = (await client.get(f"{service.admin}/readyz?verbose")).json()
            return checks["broker"] == checks["store"] == "ok"

        await eventually(is_connected, f"{service.name} is connected")


class Api:
    """`POST /api/jobs` and the two documents of a job. Close it with `aclose()`."""

    def __init__(self, base: str) -> None:
        self.http = httpx.AsyncClient(base_url=base, trust_env=False, timeout=30)

    async def aclose(self) -> None:
        await self.http.aclose()

    async def post(self, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """POST a body: bytes and async iterators as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) or hasattr(body, "__aiter__") else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | (headers or {})
        return await self.http.post("/api/jobs", content=content, headers=sent)

    async def submit(self, target: str, callback: str | None = None, **fields: Any) -> str:
        """Submit a job that must be accepted; gives its id. Fields are named as in JSON."""
        headers = fields.pop("request_headers", None)
        answer = await self.post({"targetUrl": target, "callbackUrl": callback, **fields}, headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    async def seed(self, job_id: str) -> dict[str, Any]:
        """The seed's document."""
        return await self._get(f"/api/job/{job_id}")

    async def typed(self, job_id: str) -> dict[str, Any]:
        return await self._get(f"/api/jobs/{job_id}")

    async def _get(self, path: str) -> dict[str, Any]:
        answer = await self.http.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        assert answer.headers["content-type"] == "application/json"
        document: dict[str, Any] = answer.json()
        return document

    async def wait_for_record(self, job_id: str, within: float = WITHIN) -> None:
        """Until a job that came as a message, not through the API, is known."""

        async def known() -> bool:
            return (await self.http.get(f"/api/jobs/{job_id}")).status_code == 200

        await eventually(known, f"a record of {job_id}", within)

    async def wait_for_status(self, job_id: str, *statuses: str, within: float = WITHIN) -> dict[str, Any]:
        """The typed document once the job has one of the statuses (default: a final one)."""

        async def reached() -> dict[str, Any] | None:
            document = await self.typed(job_id)
            return document if document["status"] in (statuses or FINAL) else None

        return await eventually(reached, f"job {job_id} {' or '.join(statuses or FINAL)}", within, 0.02)

    async def wait_for_callback(self, job_id: str, *statuses: str, within: float = WITHIN) -> dict[str, Any]:
        """The typed document once the callback has one of the statuses (default: an outcome)."""
        wanted = statuses or ("delivered", "failed")

        async def reached() -> dict[str, Any] | None:
            document = await self.typed(job_id)
            return document if document["callback"]["status"] in wanted else None

        return await eventually(reached, f"callback of job {job_id} {' or '.join(wanted)}", within, 0.02)
