"""What jobs for a healthy host feel of thousands of hosts that take connections and never answer.

The same jobs for as many hosts that do answer are the measure for the moment in which they come in: what is felt then
is that there are many, whoever they are for.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bench.client import Client
from bench.latency import ends, latency_at
from bench.report import table, title
from bench.stand import Stand

JOBS_A_BATCH = 500
TIMEOUT_MS = 5000
WARM_SECONDS = 2.0
ONSET_SECONDS = 15.0
"""For so long after the first of a burst its jobs count as coming in."""
ARRIVING_PER_SECOND = 200
ALONE = "alone"
DRAIN_LOOKS, DRAIN_LOOK_SECONDS = 200, 3
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Answers(asyncio.Protocol):
    """A host that takes everything, and wants a new connection for the next request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(OK)
        self._transport.close()


@asynccontextmanager
async def everywhere(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    """A port at which every address of 127.0.0.0/8 behaves so: `asyncio.Protocol` never says a word."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "0.0.0.0", 0, backlog=4096)
    try:
        port: int = server.sockets[0].getsockname()[1]
        yield port
    finally:
        server.close()


def host(number: int) -> str:
    """An address of its own for each number."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


async def submit(api: str, port: int, numbers: range, per_second: float | None = None) -> int:
    """One job for each of the hosts, at once or at a rate; gives how many were accepted."""
    accepted = 0
    size = JOBS_A_BATCH if per_second is None else int(per_second / 10)
    async with Client(api) as client:
        for first in range(numbers.start, numbers.stop, size):
            jobs = [
                {
                    "targetUrl": f"http://{host(number)}:{port}/",
                    "callbackUrl": None,
                    "timeout": TIMEOUT_MS,
                    "labels": {"crowd": "yes"},
                }
                for number in range(first, min(first + size, numbers.stop))
            ]
            status, body = await client.post("/api/jobs/batch", json.dumps({"jobs": jobs}).encode())
            if status == 207:
                accepted += sum(entry["status"] == 202 for entry in json.loads(body)["jobs"])
            if per_second is not None:
                await asyncio.sleep(size / per_second)
    return accepted


async def drained(stand: Stand) -> None:
    """Until nothing is queued to be executed, or held."""
    for _ in range(DRAIN_LOOKS):
        if not await asyncio.to_thread(stand.queues):
            return
        await asyncio.sleep(DRAIN_LOOK_SECONDS)
    raise TimeoutError("jobs for hosts that answer are left")


async def beside_dead(stand: Stand, count: int, rate: float, seconds: float) -> dict[str, Any]:
    """Latency of jobs for a healthy host: alone, beside hosts that answer, and beside `count` dead ones."""
    api, half = stand.stack.api, count // 2
    async with everywhere(_Answers) as alive, everywhere(asyncio.Protocol) as dead, ends() as healthy:
        await latency_at(healthy, api, rate, WARM_SECONDS)  # connections, and a host that has proven itself
        results = {ALONE: await latency_at(healthy, api, rate, seconds)}

        async def during(name: str, port: int, numbers: range, per_second: float | None, seconds: float) -> int:
            submitting = asyncio.create_task(submit(api, port, numbers, per_second))
            results[name] = await latency_at(healthy, api, rate, seconds)
            return await submitting

        accepted, arriving = 0, half / ARRIVING_PER_SECOND
        for kind, port in (("answering", alive), ("dead", dead)):
            accepted += await during(f"{kind}, arriving", port, range(half), ARRIVING_PER_SECOND, arriving)
            accepted += await during(f"burst, {kind}", port, range(half, count), None, ONSET_SECONDS)
            if kind == "answering":  # what is left of them would be felt beside the dead
                await drained(stand)
        results["beside the dead"] = await latency_at(healthy, api, rate, seconds)
    return {"accepted": accepted, "phases": results}


def measure(count: int, rate: float, seconds: float) -> dict[str, Any]:
    """The figures, and as problems what was lost."""
    title(f"A healthy host beside {count:,} dead ones")
    with Stand() as stand:
        result = asyncio.run(beside_dead(stand, count, rate, seconds))
        complaints = stand.complaints()
    rows = []
    problems = [f"an error was logged: {line[:300]}" for line in complaints[:3]]
    normal = result["phases"][ALONE]["to_target_ms"]["p99"]
    for name, figures in result["phases"].items():
        p50, p99 = (figures["to_target_ms"][part] for part in ("p50", "p99"))
        rows.append((name, p50, p99, f"{p99 / normal:.1f}", figures["to_callback_ms"]["p99"]))
        if lost := figures["accepted"] - figures["called_back"]:
            problems.append(f"{lost} jobs of {name!r} were not called back in time")
    table(("ms", "to target p50", "p99", "of alone", "to callback p99"), rows)
    if result["accepted"] < 2 * count:
        problems.append(f"{2 * count - result['accepted']} jobs of the crowds were not accepted")
    return result | {"problems": problems}
