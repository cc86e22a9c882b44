"""What jobs for a healthy host feel of thousands of hosts that take connections and never answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.client import Client
from bench.latency import latency
from bench.report import say, table, title
from bench.stand import Stand

JOBS_A_BATCH = 500
TIMEOUT_MS = 5000
SETTLE_SECONDS = 3.0


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
    """Latency of jobs for a healthy host, alone and then beside `count` dead ones."""
    async with black_hole() as port:
        await latency(api, rate, 2)  # connections, and a host that has proven itself
        alone = await latency(api, rate, seconds)
        accepted = await submit_dead(api, port, count)
        await asyncio.sleep(SETTLE_SECONDS)
        beside = await latency(api, rate, seconds)
    return {"dead_accepted": accepted, "alone": alone, "beside": beside}


def measure(count: int, rate: float, seconds: float) -> dict[str, Any]:
    """The figures, and as problems what was lost or took more than twice as long."""
    title(f"A healthy host beside {count:,} dead ones")
    with Stand() as stand:
        result = asyncio.run(beside_dead(stand.stack.api, count, rate, seconds))
        complaints = stand.complaints()
    alone, beside = result["alone"], result["beside"]
    rows = [
        (name, figures["to_target_ms"]["p50"], figures["to_target_ms"]["p99"], figures["to_callback_ms"]["p99"])
        for name, figures in (("alone", alone), ("beside", beside))
    ]
    table(("ms", "to target p50", "p99", "to callback p99"), rows)
    problems = [f"an error was logged: {line[:300]}" for line in complaints[:3]]
    for name, figures in (("alone", alone), ("beside", beside)):
        if lost := figures["accepted"] - figures["called_back"]:
            problems.append(f"{lost} jobs {name} were not called back in time")
    if result["dead_accepted"] < count:
        problems.append(f"{count - result['dead_accepted']} jobs for dead hosts were not accepted")
    before, after = alone["to_target_ms"]["p99"], beside["to_target_ms"]["p99"]
    if after > 2 * before:
        problems.append(f"p99 to the target rose from {before:.1f} to {after:.1f} ms")
    say()
    return result | {"problems": problems}
