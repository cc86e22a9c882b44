"""`POST /api/jobs/batch`: many jobs in one request, an answer for each in order."""

import asyncio
import json
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.conftest import ENV, Servers
from tests.support.client import Api
from tests.support.target import Target
from tests.support.waiting import eventually

from devstack.paths import ROOT
from devstack.services import Service

pytestmark = pytest.mark.stack

NOWHERE = "http://127.0.0.1:9/"
MIB = 1024 * 1024


def job(target: str = NOWHERE, **fields: Any) -> dict[str, Any]:
    return {"targetUrl": target, "callbackUrl": None, "maxRetries": 0} | fields


async def post(api: Api, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.http.post("/api/jobs/batch", content=content, headers=sent)


async def test_a_thousand_jobs(api: Api, target: Target) -> None:
    """Each is accepted with an id of its own, in order, and each is called once."""
    endpoint = target.endpoint()
    jobs = [job(endpoint.url, method="POST", payload={"n": n}) for n in range(1000)]
    answer = await post(api, {"jobs": jobs})
    assert answer.status_code == 207
    assert answer.headers["content-type"] == "application/json"
    entries = answer.json()["jobs"]
    assert [(entry["index"], entry["status"]) for entry in entries] == [(n, 202) for n in range(1000)]
    assert len({uuid.UUID(entry["jobId"]) for entry in entries}) == 1000
    await endpoint.wait(1000, within=60)
    called = {received.header("X-Carom-Job-Id"): received.json["n"] for received in endpoint.requests}
    assert called == {entry["jobId"]: entry["index"] for entry in entries}
    shown = await api.wait_for_status(entries[7]["jobId"], "completed")
    assert shown["payload"] == {"n": 7}


async def test_a_bad_job_spoils_no_other(api: Api, target: Target) -> None:
    """Its entry is the problem that a single post would get, with pointers into the batch; the others are accepted."""
    endpoint = target.endpoint()
    jobs = [job(endpoint.url), job(maxRetries=11, nonsense=1), 5, job(endpoint.url), job(payload="x" * 262_144), {}]
    answer = await post(api, {"jobs": jobs})
    assert answer.status_code == 207
    entries = answer.json()["jobs"]
    assert [entry["status"] for entry in entries] == [202, 400, 400, 202, 413, 400]
    assert [entry["index"] for entry in entries] == list(range(6))
    problem = entries[1]["error"]
    assert (problem["status"], problem["title"]) == (400, "Bad Request")
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert {error["pointer"] for error in problem["errors"]} == {"/jobs/1/maxRetries", "/jobs/1/nonsense"}
    assert [error["pointer"] for error in entries[2]["error"]["errors"]] == ["/jobs/2"]
    assert "262144" in entries[4]["error"]["detail"]
    assert {error["pointer"] for error in entries[5]["error"]["errors"]} == {"/jobs/5/targetUrl", "/jobs/5/callbackUrl"}
    await endpoint.wait(2)
    assert "jobId" not in entries[1]


async def test_atomic_is_all_or_nothing(api: Api, target: Target) -> None:
    """One that is not valid refuses all, with all that is wrong; none is called. All valid: as ever."""
    endpoint = target.endpoint()
    bad = [job(endpoint.url), job(maxRetries=11), job(endpoint.url), job(payload="x" * 262_144)]
    answer = await post(api, {"jobs": bad, "atomic": True})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/jobs/1/maxRetries", "/jobs/3"]
    good = await post(api, {"jobs": [job(endpoint.url)], "atomic": True})
    assert [entry["status"] for entry in good.json()["jobs"]] == [202]
    await api.wait_for_status(good.json()["jobs"][0]["jobId"], "completed")
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/jobs"]),
        ({"jobs": []}, ["/jobs"]),
        ({"jobs": [{}] * 1001}, ["/jobs"]),
        ({"jobs": "all"}, ["/jobs"]),
        ({"jobs": [{}], "atomic": 1, "x": 2}, ["/x", "/atomic"]),
        ([], [""]),
        (b"{", [""]),
        (b"\xff", [""]),
    ],
)
async def test_what_is_no_batch_is_refused(api: Api, body: Any, pointers: list[str]) -> None:
    answer = await post(api, body)
    assert answer.status_code == 400, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers


async def test_each_job_has_its_own_rules(api: Api, target: Target) -> None:
    """Delays, labels and callbacks work as in a single post."""
    endpoint, callback = target.endpoint(), target.endpoint()
    jobs = [job(endpoint.url, delay=60_000, labels={"a": "b"}), job(endpoint.url, callbackUrl=callback.url)]
    entries = (await post(api, {"jobs": jobs})).json()["jobs"]
    scheduled = await api.typed(entries[0]["jobId"])
    assert (scheduled["status"], scheduled["labels"]) == ("scheduled", {"a": "b"})
    assert (await callback.one()).json["jobId"] == entries[1]["jobId"]
    assert len(endpoint.requests) == 1


async def test_body_limit(api: Api) -> None:
    """16 MiB are taken, a byte more is 413 and the limit named; each job keeps the limit of its payload."""
    jobs = [job(payload="x" * 200_000) for _ in range(80)]
    text = json.dumps({"jobs": jobs}).encode()
    answer = await post(api, text + b" " * (16 * MIB - len(text)))
    assert {entry["status"] for entry in answer.json()["jobs"]} == {202}
    answer = await post(api, text + b" " * (16 * MIB - len(text) + 1))
    assert (answer.status_code, str(16 * MIB) in answer.json()["detail"]) == (413, True)


async def test_a_batch_has_an_idempotency_key(api: Api, target: Target) -> None:
    """The same batch again is the same answer, other bodies are refused, and so is a single job under that key."""
    endpoint, key = target.endpoint(), str(uuid.uuid4())
    batch = {"jobs": [job(endpoint.url), job(maxRetries=11), job(endpoint.url)]}
    answers = await asyncio.gather(*(post(api, batch, Idempotency_Key=key) for _ in range(20)))
    assert {answer.status_code for answer in answers} <= {207, 409}
    first = next(answer for answer in answers if answer.status_code == 207)

    async def replay() -> httpx.Response | None:
        answer = await post(api, batch, Idempotency_Key=key)
        return answer if answer.status_code == 207 else None

    again = await eventually(replay, "a replay")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content
    assert [entry["status"] for entry in again.json()["jobs"]] == [202, 400, 202]
    assert (await post(api, {"jobs": [job(endpoint.url)]}, Idempotency_Key=key)).status_code == 422
    assert (await api.post(job(endpoint.url), {"Idempotency-Key": key})).status_code == 422
    for entry in (0, 2):
        await api.wait_for_status(again.json()["jobs"][entry]["jobId"], "completed")
    assert len(endpoint.requests) == 2


async def test_killed_half_way(api: Api, servers: Servers, target: Target, tmp_path: Path) -> None:
    """Intake is killed in the middle of a batch: the same request again is the same jobs, and each is called once."""
    command = [sys.executable, "-m", "tests.support.crashing", "intake", "after-publish", "40", str(tmp_path / "trace")]
    urls = {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url, "PYTHONPATH": str(ROOT)}
    doomed = Service("intake", ENV | urls, log=tmp_path / "doomed.log", command=command)
    doomed.start()
    endpoint, key = target.endpoint(), str(uuid.uuid4())
    batch = {"jobs": [job(endpoint.url) for _ in range(100)]}
    client = Api(doomed.url)

    async def accepted(by: Api) -> httpx.Response | None:
        answer = await post(by, batch, Idempotency_Key=key)
        return answer if answer.status_code == 207 else None

    try:
        with pytest.raises(httpx.TransportError):
            await eventually(lambda: accepted(client), "its connections", interval=0.1)
    finally:
        await client.aclose()
    await eventually(lambda: not doomed.alive, "the kill")
    assert doomed.exit_code == -signal.SIGKILL
    await endpoint.wait(40)
    entries = (await eventually(lambda: accepted(api), "the end of the hold", interval=0.1)).json()["jobs"]
    assert {entry["status"] for entry in entries} == {202}
    for entry in entries:
        await api.wait_for_status(entry["jobId"], "completed")
    await api.wait_for_status(await api.submit(target.endpoint().url), "completed")  # behind the second copies
    called = [received.header("X-Carom-Job-Id") for received in endpoint.requests]
    assert sorted(called, key=str) == sorted(entry["jobId"] for entry in entries)
