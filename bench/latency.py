"""How long a job takes from submission to its target and to its callback at a low rate."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Any

from bench.client import Client
from bench.endpoint import endpoint, until
from bench.job import API_PATH, job, number_of
from bench.report import spread

WAIT_SECONDS = 20


async def latency(api: str, rate: float, seconds: float) -> dict[str, Any]:
    """Random arrivals, `rate` a second on average, for `seconds`."""
    sent: dict[int, float] = {}
    called: dict[int, float] = {}
    back: dict[int, float] = {}
    async with endpoint(_noting(called)) as target, endpoint(_noting(back)) as receiver, Client(api) as client:

        async def post(number: int) -> int:
            body = json.dumps(job(target, receiver, number)).encode()
            sent[number] = time.time()
            status, _ = await client.post(API_PATH, body)
            return status

        tasks: list[asyncio.Task[int]] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            tasks.append(asyncio.create_task(post(len(tasks))))
            await asyncio.sleep(random.expovariate(rate))
        statuses = await asyncio.gather(*tasks)
        accepted = {n for n, status in enumerate(statuses) if status == 202}
        await until(lambda: not accepted - back.keys(), WAIT_SECONDS)
    return {
        "sent": len(sent),
        "accepted": len(accepted),
        "called_back": len(accepted & back.keys()),
        "to_target_ms": spread([(called[n] - sent[n]) * 1000 for n in called]),
        "to_callback_ms": spread([(back[n] - sent[n]) * 1000 for n in back]),
    }


def _noting(arrivals: dict[int, float]) -> Callable[[str, float], int]:
    def answer(path: str, at: float) -> int:
        if (number := number_of(path)) is not None:
            arrivals.setdefault(number, at)
        return 200

    return answer
