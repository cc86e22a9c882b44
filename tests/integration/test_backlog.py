"""Shedding: above `CAROM_MAX_BACKLOG` open jobs nothing more is taken, until some are done."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.integration.conftest import ENV, Servers
from tests.support.client import Api, connected
from tests.support.target import Target
from tests.support.waiting import eventually

from devstack.services import Service, Stack

pytestmark = pytest.mark.stack

ROOM = 10


async def open_jobs(service: Service) -> int:
    """What the gauge of a replica says."""
    async with httpx.AsyncClient(trust_env=False) as client:
        lines = (await client.get(f"{service.admin}/metrics")).text.splitlines()
    return int(float(next(line for line in lines if line.startswith("carom_backlog_jobs ")).split()[1]))


@pytest.fixture
async def small(stack: Stack, servers: Servers) -> AsyncIterator[Service]:
    """A replica of intake that takes ten more jobs than are open now."""
    limit = await open_jobs(stack.intake) + ROOM
    urls = {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}
    env = {**ENV, **urls, "CAROM_MAX_BACKLOG": str(limit)}
    service = Service("intake", env, log=servers.directory / "services" / "intake-small.log")
    service.start()
    await connected(service)
    yield service
    service.terminate()


@pytest.fixture
async def full(small: Service) -> AsyncIterator[Api]:
    client = Api(small.url)
    yield client
    await client.aclose()


async def test_above_the_limit(full: Api, small: Service, api: Api, target: Target) -> None:
    """503 with the reason and Retry-After; replays are answered all the same; finished jobs make room."""

    def job(**fields: Any) -> dict[str, Any]:
        return {"targetUrl": target.endpoint().url, "callbackUrl": None, "delay": 8000} | fields

    key, body = {"Idempotency-Key": str(uuid.uuid4())}, job()

    async def accepted() -> bool:
        return (await full.post(body, key)).status_code == 202

    await eventually(accepted, "connections and a first job")

    async def refused() -> httpx.Response | None:
        answer = await full.post(job())
        return answer if answer.status_code == 503 else None

    answer = await eventually(refused, "a full backlog", interval=0)
    problem = answer.json()
    assert (problem["reason"], int(answer.headers["retry-after"]) > 0) == ("backlog-full", True)
    assert "at most" in problem["detail"]
    batch = json.dumps({"jobs": [job(), job()]})
    answer = await full.http.post("/api/jobs/batch", content=batch, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (503, "backlog-full")
    again = await full.post(body, key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    late = {"Idempotency-Key": str(uuid.uuid4())}
    kept = job()
    assert (await full.post(kept, late)).status_code == 503
    assert (await api.post(job())).status_code == 202, "the other replica has its own limit"

    async def counted() -> bool:
        return await open_jobs(small) >= ROOM

    await eventually(counted, "the gauge to tell")

    async def room() -> bool:
        return (await full.post(kept, late)).status_code == 202

    await eventually(room, "room when jobs are done", interval=0.2)
