"""`GET /api/jobs/{jobId}/attempts`: what was tried, in order, with what was said and where the time went."""

import re
import socket
import uuid
from typing import Any

import pytest
from tests.integration.test_submit import check_problem
from tests.support.client import Api
from tests.support.target import HANG, Answer, Target, respond

pytestmark = pytest.mark.stack

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def attempts(api: Api, job_id: str, **query: Any) -> dict[str, Any]:
    answer = await api.http.get(f"/api/jobs/{job_id}/attempts", params=query)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def one(api: Api, job_id: str) -> dict[str, Any]:
    await api.wait_for_status(job_id)
    found = await attempts(api, job_id)
    assert found["nextCursor"] is None
    (attempt,) = found["attempts"]
    return dict(attempt)


async def test_an_attempt_shows_both_sides_and_the_time(api: Api, target: Target) -> None:
    headers = {"Content-Type": "application/json", "Set-Cookie": "a=hidden", "X-Trace": "7", "Connection": "keep-alive"}
    endpoint = target.endpoint(Answer(200, b'{"ok":true}', headers, delay=0.05))
    sent = {"X-One": "1", "Authorization": "Bearer hidden"}
    job_id = await api.submit(endpoint.url, method="POST", headers=sent, payload={"a": 1})
    attempt = await one(api, job_id)
    received = await endpoint.one()
    assert TIME.fullmatch(attempt["startedAt"])
    assert TIME.fullmatch(attempt["endedAt"])
    assert attempt["startedAt"] < attempt["endedAt"]
    assert {name: attempt[name] for name in ("attempt", "generation", "success", "statusCode", "error", "reason")} == {
        "attempt": 1,
        "generation": 1,
        "success": True,
        "statusCode": 200,
        "error": None,
        "reason": None,
    }
    shown = attempt["request"]["headers"]
    assert (attempt["request"]["method"], attempt["request"]["url"]) == ("POST", endpoint.url)
    assert shown.pop("Authorization") == "[redacted]"
    assert shown == {name: received.header(name) for name in shown}, "what is shown is what was sent"
    assert {"X-One", "Content-Type", "User-Agent", "Idempotency-Key", "X-Carom-Job-Id", "X-Carom-Attempt"} == set(shown)
    assert attempt["response"] == {
        "headers": {
            "Content-Type": "application/json",
            "Set-Cookie": "[redacted]",
            "X-Trace": "7",
            "Content-Length": "11",
        },
        "body": {"ok": True},
        "truncated": False,
    }
    assert attempt["remoteAddress"] == target.host
    timing = attempt["timing"]
    assert list(timing) == ["waitMs", "connectMs", "tlsMs", "firstByteMs", "totalMs"]
    assert timing["tlsMs"] is None
    assert 45 <= timing["firstByteMs"] <= timing["totalMs"]


async def test_attempts_come_in_order_and_in_pages(api: Api, target: Target) -> None:
    statuses = (500, 502, 503, 504, 200)
    endpoint = target.endpoint(*map(respond, statuses))
    retry = {"strategy": "fixed", "jitter": "none"}
    job_id = await api.submit(endpoint.url, maxRetries=4, retryDelay=100, retry=retry)
    await api.wait_for_status(job_id, "completed")
    whole = await attempts(api, job_id)
    assert [attempt["statusCode"] for attempt in whole["attempts"]] == list(statuses)
    assert [attempt["attempt"] for attempt in whole["attempts"]] == [1, 2, 3, 4, 5]
    assert [attempt["reason"] for attempt in whole["attempts"]] == ["http-5xx"] * 4 + [None]
    assert [attempt["request"]["headers"]["X-Carom-Attempt"] for attempt in whole["attempts"]] == list("12345")
    assert whole["nextCursor"] is None
    paged, cursor = [], None
    for _ in range(3):
        page = await attempts(api, job_id, limit=2, **({"cursor": cursor} if cursor else {}))
        assert len(page["attempts"]) <= 2
        paged += page["attempts"]
        cursor = page["nextCursor"]
    assert paged == whole["attempts"]
    assert cursor is None
    other = await api.submit(endpoint.url)
    first = await attempts(api, job_id, limit=1)
    problem = check_problem(
        await api.http.get(f"/api/jobs/{other}/attempts", params={"cursor": first["nextCursor"]}), 400
    )
    assert problem["errors"][0]["pointer"] == "?cursor"


async def test_a_job_that_was_not_called_has_no_attempts(api: Api, target: Target) -> None:
    job_id = await api.submit(target.endpoint().url, delay=3_600_000)
    assert await attempts(api, job_id) == {"attempts": [], "nextCursor": None}


async def test_a_timeout_shows_how_far_it_came(api: Api, target: Target) -> None:
    job_id = await api.submit(target.endpoint(HANG).url, timeout=150, maxRetries=0)
    attempt = await one(api, job_id)
    assert (attempt["reason"], attempt["response"], attempt["statusCode"]) == ("timeout", None, None)
    assert attempt["remoteAddress"] == target.host
    assert attempt["timing"]["firstByteMs"] is None
    assert attempt["timing"]["totalMs"] >= 149


async def test_nobody_there_has_no_address(api: Api) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        job_id = await api.submit(f"http://127.0.0.1:{closed.getsockname()[1]}/", maxRetries=0)
        attempt = await one(api, job_id)
    assert (attempt["reason"], attempt["remoteAddress"], attempt["timing"]["connectMs"]) == ("connect", None, None)


async def test_no_message_carries_the_detail_and_the_seeds_document_does_not_show_it(api: Api, target: Target) -> None:
    endpoint = target.endpoint(Answer(503, b"", {"X-Only-In-The-Record": "1"}), respond())
    callback = target.endpoint()
    job_id = await api.submit(endpoint.url, callback.url, retryDelay=100)
    await api.wait_for_status(job_id, "completed")
    assert b"X-Only-In-The-Record" not in (await callback.one()).body
    assert "X-Only-In-The-Record" not in (await api.http.get(f"/api/job/{job_id}")).text
    found = (await attempts(api, job_id))["attempts"]
    assert found[0]["response"]["headers"]["X-Only-In-The-Record"] == "1"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": "0"}, "?limit"),
        ({"limit": "1001"}, "?limit"),
        ({"cursor": "x"}, "?cursor"),
        ({"status": "x"}, "?status"),
    ],
)
async def test_a_bad_query_is_named(api: Api, query: dict[str, str], pointer: str) -> None:
    problem = check_problem(await api.http.get(f"/api/jobs/{uuid.uuid4()}/attempts", params=query), 400)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize("job_id", [str(uuid.uuid4()), "x", "A" * 2000])
async def test_of_an_unknown_job_nothing_is_shown(api: Api, job_id: str) -> None:
    check_problem(await api.http.get(f"/api/jobs/{job_id}/attempts"), 404)
