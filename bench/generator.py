"""Submits one job over and over, in a process of its own: `python -m bench.generator` with JSON arguments.

Prints one line of JSON: accepted, rejected, seconds, p99_ms.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from bench.client import Client
from bench.job import API_PATH
from bench.report import percentile


async def submit(
    base: str, body: bytes, headers: dict[str, str], connections: int, count: int, seconds: float
) -> dict[str, Any]:
    """Until `count` are accepted or `seconds` have passed; what is not accepted is submitted again."""
    times: list[float] = []
    left, rejected, start = count, 0, time.monotonic()

    async def connection(client: Client) -> None:
        nonlocal left, rejected
        while left > 0 and time.monotonic() < start + seconds:
            left -= 1
            began = time.perf_counter()
            status, _ = await client.post(API_PATH, body, headers)
            if status == 202:
                times.append((time.perf_counter() - began) * 1000)
            else:
                rejected += 1
                left += 1
                await asyncio.sleep(0.1)

    async with Client(base) as client:
        await asyncio.gather(*(connection(client) for _ in range(connections)))
    taken = time.monotonic() - start
    return {"accepted": len(times), "rejected": rejected, "seconds": taken, "p99_ms": percentile(times, 99)}


def main() -> None:
    arguments = json.loads(sys.argv[1])
    body = json.dumps(arguments.pop("job")).encode()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(submit(body=body, **arguments))), flush=True)


if __name__ == "__main__":
    main()
