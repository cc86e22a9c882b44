"""Token buckets of keys, which all replicas share, and quotas of tenants."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis as Client
from tests.integration.conftest import ENV, Servers
from tests.integration.test_running import read_metrics
from tests.integration.test_submit import check_problem
from tests.support.client import Api
from tests.support.intakes import Intakes, intakes
from tests.support.waiting import eventually

from carom_intake.domain.keys import KeyRate, Scope, new_key
from devstack.servers import Redis
from devstack.services import Stack

pytestmark = pytest.mark.stack

SCOPES = [Scope.JOBS_WRITE, Scope.JOBS_READ]
FREE = new_key("free", "free", SCOPES, rate=KeyRate(100_000, 1_000_000))
DEFAULT = new_key("by-default", "free", SCOPES)
SLOW = new_key("slow", "free", SCOPES, rate=KeyRate(0.25, 3))
STEADY = new_key("steady", "free", SCOPES, rate=KeyRate(20, 20))
ADMIN = new_key("admin", "default", [Scope.ADMIN], rate=KeyRate(100_000))
QUOTA = new_key("quota", "quota", SCOPES, rate=KeyRate(100_000))


def urls(servers: Servers) -> dict[str, str]:
    return ENV | {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}


@pytest.fixture(scope="module")
async def three(stack: Stack, servers: Servers) -> AsyncIterator[Intakes]:
    env = urls(servers) | {
        "CAROM_KEY_RATE": "0.2",
        "CAROM_KEY_BURST": "4",
        "CAROM_TENANT_JOBS": "10",
        "CAROM_TENANT_BYTES": "20000",
    }
    keys = (FREE, DEFAULT, SLOW, STEADY, ADMIN, QUOTA)
    async with intakes(servers.directory / "rates", env, *keys, replicas=3) as started:
        yield started


async def ask(api: Api) -> int:
    return (await api.http.get("/api/jobs/x")).status_code


async def flood(apis: list[Api], seconds: float) -> Counter[int]:
    """As fast as eight loops can at all replicas."""
    ends, seen = time.monotonic() + seconds, Counter[int]()

    async def loop(api: Api) -> None:
        while time.monotonic() < ends:
            seen[await ask(api)] += 1

    await asyncio.gather(*(loop(apis[n % len(apis)]) for n in range(8)))
    return seen


async def test_a_burst_and_then_429_whatever_the_replica(three: Intakes) -> None:
    """Replicas share one bucket: the third request is the last, wherever it goes."""
    answers = [await three.api(SLOW.token, n % 3).http.get("/api/jobs/x") for n in range(6)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429, 429, 429]
    refused = answers[3]
    problem = check_problem(refused, 429)
    assert problem["reason"] == "rate-limited"
    assert "0.25 requests a second, 3 at once" in problem["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 4
    await asyncio.sleep(int(refused.headers["retry-after"]))
    assert await ask(three.api(SLOW.token)) == 404, "Retry-After keeps its word"


async def test_the_fields_of_the_draft(three: Intakes) -> None:
    """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers): structured fields, in every answer."""
    seen = []
    for _ in range(5):
        answer = await three.api(DEFAULT.token).http.get("/api/jobs/x")
        assert answer.headers["ratelimit-policy"] == '"key";q=4;w=20'
        found = re.fullmatch(r'"key";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
        assert found, answer.headers["ratelimit"]
        seen.append((answer.status_code, int(found[1]), int(found[2])))
    assert [status for status, _, _ in seen] == [404] * 4 + [429]
    assert [left for _, left, _ in seen] == [3, 2, 1, 0, 0]
    assert [reset for _, _, reset in seen][-1] == 20
    assert "ratelimit" not in (await three.api(None).http.get("/openapi.json")).headers


async def test_a_flood_gets_the_rate_and_no_more(three: Intakes) -> None:
    """Sixty requests fit into two seconds; a bucket for each replica would let three times as many in."""
    apis = [three.api(STEADY.token, n) for n in range(3)]
    seen = await flood(apis, 2)
    assert set(seen) == {404, 429}
    assert 40 <= seen[404] <= 66, seen
    assert seen[429] > seen[404]


async def test_tokens_are_borrowed_in_batches(three: Intakes, servers: Servers) -> None:
    """A caller far from its limit costs a fraction of a round trip a request, and is never refused."""
    client = Client.from_url(servers.redis.url)
    before = (await client.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]
    api = three.api(FREE.token)
    seen = Counter([await ask(api) for _ in range(500)])
    after = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await client.aclose()
    assert seen == {404: 500}
    assert after - before < 250


async def test_a_key_of_the_api_has_its_rate(three: Intakes) -> None:
    made = await three.api(ADMIN.token).http.post(
        "/api/keys", json={"scopes": ["jobs:read"], "rate": {"perSecond": 0.1, "burst": 1}}
    )
    api = three.api(made.json()["token"])
    assert [await ask(api) for _ in range(2)] == [404, 429]


async def test_refusals_are_counted_and_cost_no_other_caller(three: Intakes) -> None:
    """A POST that comes too often is a submission that was refused too, once."""
    api = three.api(SLOW.token)
    async with httpx.AsyncClient(trust_env=False) as client:
        before = await read_metrics(client, three.services[0])
        posted = Counter([(await api.post({})).status_code for _ in range(6)])
        asked = Counter([await ask(api) for _ in range(2)])
        after = await read_metrics(client, three.services[0])

    def moved(name: str, *labels: str) -> float:
        return after[name, labels] - before[name, labels]

    assert posted[429] >= 3
    assert moved("carom_submissions_refused_total", "429") == posted[429]
    assert moved("carom_submissions_refused_total", "400") == posted[400]
    assert moved("carom_rate_limited_total") == posted[429] + asked[429]
    assert await ask(three.api(FREE.token)) == 404
    assert await ask(three.api(None)) == 401


async def test_without_the_store_nobody_floods_and_nobody_is_kept_out(servers: Servers, stack: Stack) -> None:
    """Each replica counts by itself then."""
    directory = servers.directory / "rates-alone"
    key = new_key("alone", "default", SCOPES, rate=KeyRate(10, 10))
    with Redis(directory / "redis") as redis:
        async with intakes(directory, urls(servers) | {"REDIS_URL": redis.url}, key, replicas=2) as two:
            apis = [two.api(key.token, n) for n in range(2)]
            redis.kill()
            seen = await flood(apis, 2)
            admitted = sum(count for status, count in seen.items() if status != 429)
            assert 20 <= admitted <= 70, seen
            assert seen[429] > 100
            redis.start()

            async def shared() -> bool:
                await asyncio.sleep(1.5)
                return [await ask(api) for api in apis] == [404, 404]

            await eventually(shared, "they ask the store again")
            seen = await flood(apis, 2)
            assert seen[404] <= 33, seen


# Quotas


def job(**fields: Any) -> dict[str, Any]:
    return {"targetUrl": "http://127.0.0.1:59999/", "callbackUrl": None, "delay": 600_000} | fields


async def test_a_tenant_has_at_most_its_open_jobs(three: Intakes) -> None:
    """Counted together by all replicas; another tenant is not concerned."""
    api = three.api(QUOTA.token)
    ids = [await api.submit("http://127.0.0.1:59999/", delay=600_000) for _ in range(8)]
    batch = {"jobs": [job()] * 3}
    problem = check_problem(await api.http.post("/api/jobs/batch", json=batch), 429)
    assert problem["reason"] == "quota-jobs"
    assert [(await api.post(job())).status_code for _ in range(3)] == [202, 202, 429]
    other = three.api(QUOTA.token, 1)

    async def full() -> bool:
        """It may take as many again in the second that it needs to count."""
        answer = await other.post(job())
        if answer.status_code == 202:
            ids.append(answer.json()["jobId"])
        return answer.status_code == 429

    await eventually(full, "the other replica has counted", 5)
    assert len(ids) <= 8 + 10
    answer = await other.post(job())
    assert check_problem(answer, 429)["reason"] == "quota-jobs"
    assert answer.headers["retry-after"] == "5"
    assert (await three.api(FREE.token).post(job())).status_code == 202
    for job_id in ids:
        await api.http.delete(f"/api/jobs/{job_id}")

    async def room() -> bool:
        return (await api.post(job())).status_code == 202

    await eventually(room, "cancelled jobs make room", 10)


async def test_a_tenant_hands_in_at_most_its_bytes(three: Intakes) -> None:
    api = three.api(FREE.token)
    big = job(method="POST", payload="x" * 6000)
    assert len(json.dumps(big)) < 7000
    seen = [(await api.post(big)).status_code for _ in range(5)]
    assert seen[0] == 202, (await api.post(big)).text
    assert seen[-1] == 429
    other = three.api(FREE.token, 2)

    async def full() -> bool:
        return (await other.post(big)).status_code == 429

    await eventually(full, "the other replica has counted", 5)
    assert check_problem(await other.post(big), 429)["reason"] == "quota-bytes"
