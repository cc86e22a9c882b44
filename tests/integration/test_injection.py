"""What a target answers stays in bodies: nothing of it becomes a header, an event or a line of ours."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.loopback import LoopbackServer
from tests.support.target import Target

pytestmark = pytest.mark.stack

EVIL = "evil-7f3a"
"""In each name and value that the target sends; whatever of it is found outside a body was let through."""

OURS = {
    *("content-type", "content-length", "date", "x-request-id", "location", "cache-control", "transfer-encoding"),
    *("ratelimit", "ratelimit-policy", "preference-applied", "x-accel-buffering", "connection", "vary", "retry-after"),
    *("x-content-type-options", "idempotency-replayed", "server-timing"),
}
BODY = f'{{"a": "{EVIL}\\r\\nSet-Cookie: {EVIL}=1\\n\\nevent: {EVIL}\\ndata: {EVIL}\\u2028\\u0085\\u0000"}}'.encode()
HEADS = [
    # Names that mean something in an answer of ours.
    f"Set-Cookie: {EVIL}=1\r\nLocation: http://{EVIL}/\r\nX-Request-Id: {EVIL}\r\n"
    f"Access-Control-Allow-Origin: {EVIL}\r\nX-Carom-Job-Id: {EVIL}\r\nwebhook-id: {EVIL}\r\n"
    f"webhook-signature: {EVIL}\r\nRetry-After: {EVIL}\r\nContent-Type: application/json; x={EVIL}\r\n"
    f"Link: <{EVIL}>\r\nRateLimit: {EVIL}\r\n",
    # A line break in a value, in the ways that parsers have been taken in by.
    f"X-A: {EVIL}\r Set-Cookie: {EVIL}=1\r\n",
    f"X-A: {EVIL}\nSet-Cookie: {EVIL}=1\r\n",
    f"X-A: {EVIL}\r\n Set-Cookie: {EVIL}=1\r\n",
    f"X-A: {EVIL}\x00\x0b\x0c\x85\r\n",
    f"X-A: {EVIL}%0d%0aSet-Cookie:%20{EVIL}=1\r\n",
    # Bytes that lose their upper half become line breaks.
    f"X-A: {EVIL}\u560d\u560aSet-Cookie: {EVIL}=1\r\n",
    f"X {EVIL}: 1\r\n",
    f": {EVIL}\r\n",
]


class Hostile(LoopbackServer):
    """Answers with a head as it is."""

    head = b""

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK " + EVIL.encode() + b"\r\n" + self.head)
        writer.write(f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
        await writer.drain()
        return False


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    async with Hostile() as server:
        yield server


def check_head(answer: httpx.Response) -> None:
    names = {name.decode().lower() for name, _ in answer.headers.raw}
    assert names <= OURS, names - OURS
    assert EVIL not in str(answer.headers.raw)
    assert EVIL not in answer.reason_phrase


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
async def test_nothing_of_an_answer_becomes_a_header_of_ours(
    api: Api, target: Target, hostile: Hostile, head: str, logs: Logs
) -> None:
    hostile.head = head.encode("utf-8")
    back = target.endpoint()
    job: dict[str, Any] = {"targetUrl": f"http://{hostile.host}/", "callbackUrl": back.url, "maxRetries": 0}
    answer = await api.post(job, {"Prefer": "wait=10"})
    assert answer.status_code == 200, answer.text
    check_head(answer)
    job_id = answer.headers["location"].rpartition("/")[2] if "location" in answer.headers else answer.json()["jobId"]

    received = await back.one()
    names = {name.lower() for name, _ in received.headers}
    assert names == {
        *("host", "content-type", "content-length", "user-agent", "accept-encoding"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
    assert EVIL not in str(received.headers)
    assert received.json["jobId"] == job_id

    for path in (f"/api/jobs/{job_id}", f"/api/job/{job_id}", f"/api/jobs/{job_id}/attempts", "/api/jobs?limit=5"):
        shown = await api.http.get(path)
        assert shown.status_code == 200
        check_head(shown)
        json.loads(shown.text)

    async with api.http.stream("GET", f"/api/jobs/{job_id}/events") as stream:
        check_head(stream)
        text = ""
        async with asyncio.timeout(10):
            async for part in stream.aiter_text():
                text += part
                if "completed" in text or "failed" in text:
                    break
    fields = {line.split(":", 1)[0] for line in text.splitlines() if line}
    assert fields <= {"id", "event", "data", "retry", ""}
    assert not any(line.startswith((f"event: {EVIL}", f"data: {EVIL}")) for line in text.splitlines())

    for line in logs.text().splitlines():
        if EVIL in line:
            json.loads(line)  # one line each, however many the target meant
