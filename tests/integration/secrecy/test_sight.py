"""What callers see of jobs: secrets are redacted for all, and payloads and responses are for those with the scope."""

from typing import Any

import pytest
from tests.integration.secrecy.conftest import ADMIN, BLIND, Client
from tests.support.client import Api
from tests.support.target import Target, respond

pytestmark = pytest.mark.stack

FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}, "maxRetries": 1}
SECRET, PLAIN = "hunter2-the-secret", "plain-to-readers"
"""Never shown; shown to those who may read payloads."""

HEADERS = {
    "Authorization": f"Bearer {SECRET}",
    "X-Api-Key": SECRET,
    "X-Customer": SECRET,
    "X-Internal-Route": SECRET,
    "X-Shown": PLAIN,
}
PAYLOAD = {"card": {"number": SECRET, "name": PLAIN}, "list": [SECRET, PLAIN], "a/b": SECRET}
REDACT = ["/card/number", "/list/0", "/a~1b", "/absent"]
SHOWN = {"card": {"number": "[redacted]", "name": PLAIN}, "list": ["[redacted]", PLAIN], "a/b": "[redacted]"}


def answer(status: int) -> Any:
    return respond(
        status, {"answer": PLAIN}, set_cookie=SECRET, x_customer=SECRET, location=f"https://x.example/{PLAIN}"
    )


def job(target: Target, status: int, callback: str | None = None) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "url": callback or target.endpoint().url,
        "headers": {"X-Api-Key": SECRET, "X-Shown": PLAIN},
    }
    return {
        "targetUrl": target.endpoint(answer(status)).url,
        "method": "POST",
        "headers": HEADERS,
        "payload": PAYLOAD,
        "redact": REDACT,
        "callback": asked,
        **FAST,
    }


async def everything_of(api: Api, job_id: str) -> dict[str, str]:
    """All that the API says of a dead job, by path."""
    paths = (
        f"/api/jobs/{job_id}", f"/api/jobs/{job_id}?explain=true", f"/api/job/{job_id}",
        f"/api/jobs/{job_id}/attempts", f"/api/dead-letters/{job_id}",
        "/api/jobs", "/api/dead-letters", "/api/stats",
    )  # fmt: skip
    answers = {path: await api.http.get(path) for path in paths}
    assert {path: found.status_code for path, found in answers.items() if found.status_code != 200} == {}
    return {path: found.text for path, found in answers.items()}


async def test_no_answer_shows_a_secret_to_anybody(client: Client, target: Target) -> None:
    """Nor what a job's `redact` names, of its payload; all of it is sent."""
    api = client(ADMIN)
    submitted = await api.post(job(target, 500), {"Prefer": "wait=20"})
    assert (submitted.status_code, submitted.json()["status"]) == (200, "failed")
    job_id = submitted.json()["jobId"]
    answers = await everything_of(api, job_id) | {"wait": submitted.text}
    assert [path for path, text in answers.items() if SECRET in text] == []
    for document in (submitted.json(), await api.typed(job_id), await api.seed(job_id)):
        assert document["payload"] == SHOWN
        assert document["headers"] == {name: PLAIN if name == "X-Shown" else "[redacted]" for name in HEADERS}
    assert submitted.json()["redact"] == REDACT
    attempt = (await api.http.get(f"/api/jobs/{job_id}/attempts")).json()["attempts"][0]
    assert attempt["response"]["headers"]["X-Customer"] == attempt["response"]["headers"]["Set-Cookie"] == "[redacted]"
    assert attempt["response"]["headers"]["Location"] == f"https://x.example/{PLAIN}"


async def test_all_of_it_is_sent(client: Client, target: Target) -> None:
    api = client(ADMIN)
    callback = target.endpoint()
    asked = job(target, 200, callback.url)
    endpoint = target.endpoint()
    await api.post(asked | {"targetUrl": endpoint.url})
    received = await endpoint.one()
    assert received.json == PAYLOAD
    assert {name: received.header(name) for name in HEADERS} == HEADERS
    called = await callback.one()
    assert called.header("X-Api-Key") == SECRET
    assert SECRET.encode() not in called.body


async def test_who_may_not_read_payloads_sees_nothing_of_them(client: Client, target: Target) -> None:
    """In none of the answers: a job's, its attempts', a dead letter's, a wait's, a replay's, a batch's, an act's."""
    api = client(BLIND)
    body = job(target, 500)
    key = {"Idempotency-Key": "blind-1", "Prefer": "wait=20"}
    first = await api.post(body, key)
    assert (first.status_code, first.json()["status"]) == (200, "failed")
    job_id = first.json()["jobId"]
    replay = await api.post(body, key)
    assert replay.headers["Idempotency-Replayed"] == "true"
    batch = await api.http.post("/api/jobs/batch", json={"jobs": [body, body | {"timeout": PLAIN}]})
    waiting = await api.post(body | {"delay": 3_600_000})
    cancelled = await api.http.delete(f"/api/jobs/{waiting.json()['jobId']}")
    answers = await everything_of(api, job_id)
    answers |= {"wait": first.text, "replay": replay.text, "cancelled": cancelled.text}
    answers |= {"retry": (await api.http.post(f"/api/jobs/{job_id}/retry")).text}
    await api.wait_for_status(job_id)
    answers |= {"redrive": (await api.http.post(f"/api/dead-letters/{job_id}/redrive")).text}
    await api.wait_for_status(job_id)
    answers |= {"forget": (await api.http.delete(f"/api/dead-letters/{job_id}")).text}
    assert [path for path, text in answers.items() if SECRET in text or PLAIN in text] == []
    # What is wrong with a job is told to who sends it, and names no value of a header or a payload.
    assert batch.status_code == 207
    assert SECRET not in batch.text
    for document in (first.json(), cancelled.json(), await api.typed(job_id)):
        assert (document["payload"], document["headers"]) == (None, {})
        assert document["response"] in (None, {"status": 500, "body": None})
    seed = await api.seed(job_id)
    assert (seed["payload"], seed["headers"], seed["lastResponse"]) == (None, {}, None)
    seen = client(ADMIN)
    assert (await seen.typed(job_id))["payload"] == SHOWN


async def test_a_pointer_that_is_none_is_told(client: Client) -> None:
    api = client(ADMIN)
    common = {"targetUrl": "http://t.example/", "callbackUrl": None}
    for redact, pointer in (
        (["card"], "/redact/0"),
        (["/a", "/~2"], "/redact/1"),
        (["/" * 33], "/redact/0"),
        ([f"/{n}" for n in range(33)], "/redact"),
        (["/a", "/a"], "/redact"),
        ("/a", "/redact"),
    ):
        refused = await api.post(common | {"redact": redact})
        assert refused.status_code == 400
        assert [problem["pointer"] for problem in refused.json()["errors"]] == [pointer], redact
