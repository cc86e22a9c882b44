"""What jobs for a healthy host feel of thousands of hosts that take connections and never answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.client import Client
from bench.latency import latency
from bench.report import table, title
from bench.stand import Stand

JOBS_A_BATCH = 500
TIMEOUT_MS = 5000
WARM_SECONDS = 2.0
ONSET_SECONDS = 15.0
"""For so long after the first of them the dead ones count as coming in."""


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port at which every address of 127.0.0.0/8 takes connections and says nothing."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "0.0.0.0", 0, backlog=4096)
    try:
        port: int = server.sockets[0].getsockname()[1]
        yield port
    finally:
        server.close()


def dead_host(number: int) -> str:
    """An address of its own for each number."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


async def submit_dead(api: str, port: int, count: int) -> int:
    """One job for each of `count` dead hosts; gives how many were accepted."""
    accepted = 0
    async with Client(api) as client:
        for first in range(0, count, JOBS_A_BATCH):
            jobs = [
                {
                    "targetUrl": f"http://{dead_host(number)}:{port}/",
                    "callbackUrl": None,
                    "timeout": TIMEOUT_MS,
                    "labels": {"dead": "yes"},
                }
                for number in range(first, min(first + JOBS_A_BATCH, count))
            ]
            status, body = await client.post("/api/jobs/batch", json.dumps({"jobs": jobs}).encode())
            if status == 207:
                accepted += sum(entry["status"] == 202 for entry in json.loads(body)["jobs"])
    return accepted


async def beside_dead(api: str, count: int, rate: float, seconds: float) -> dict[str, Any]:
    """Latency of jobs for a healthy host: alone, while jobs for `count` dead ones come in, and beside these."""
    async with black_hole() as port:
        await latency(api, rate, WARM_SECONDS)  # connections, and a host that has proven itself
        alone = await latency(api, rate, seconds)
        submitting = asyncio.create_task(submit_dead(api, port, count))
        onset = await latency(api, rate, ONSET_SECONDS)
        accepted = await submitting
        beside = await latency(api, rate, seconds)
    return {"dead_accepted": accepted, "alone": alone, "onset": onset, "beside": beside}


def measure(count: int, rate: float, seconds: float) -> dict[str, Any]:
    """The figures, and as problems what was lost."""
    title(f"A healthy host beside {count:,} dead ones")
    with Stand() as stand:
        result = asyncio.run(beside_dead(stand.stack.api, count, rate, seconds))
        complaints = stand.complaints()
    rows = []
    problems = [f"an error was logged: {line[:300]}" for line in complaints[:3]]
    for name in ("alone", "onset", "beside"):
        figures = result[name]
        rows.append(
            (name, *(figures["to_target_ms"][part] for part in ("p50", "p99")), figures["to_callback_ms"]["p99"])
        )
        if lost := figures["accepted"] - figures["called_back"]:
            problems.append(f"{lost} jobs of {name} were not called back in time")
    table(("ms", "to target p50", "p99", "to callback p99"), rows)
    if result["dead_accepted"] < count:
        problems.append(f"{count - result['dead_accepted']} jobs for dead hosts were not accepted")
    return result | {"problems": problems}
