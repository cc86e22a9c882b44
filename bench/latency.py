"""How long a job takes from submission to its target and to its callback at a low rate."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from bench.client import Client
from bench.endpoint import endpoint, until
from bench.job import API_PATH, job, number_of
from bench.report import spread

WAIT_SECONDS = 20


class Ends(NamedTuple):
    """A target and a receiver that note when the request of each job came: Unix time by the number of the job."""

    target: str
    receiver: str
    called: dict[int, float]
    back: dict[int, float]


@asynccontextmanager
async def ends() -> AsyncIterator[Ends]:
    """The same destinations for as many measurements as are made with them."""
    called: dict[int, float] = {}
    back: dict[int, float] = {}
    async with endpoint(_noting(called)) as target, endpoint(_noting(back)) as receiver:
        yield Ends(target, receiver, called, back)


async def latency(api: str, rate: float, seconds: float) -> dict[str, Any]:
    """Random arrivals, `rate` a second on average, for `seconds`."""
    async with ends() as own:
        return await latency_at(own, api, rate, seconds)


async def latency_at(at: Ends, api: str, rate: float, seconds: float) -> dict[str, Any]:
    """The same with a target and a receiver that may have been called before."""
    sent: dict[int, float] = {}
    at.called.clear()
    at.back.clear()
    async with Client(api) as client:

        async def post(number: int) -> int:
            body = json.dumps(job(at.target, at.receiver, number)).encode()
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
        await until(lambda: not accepted - at.back.keys(), WAIT_SECONDS)
    return {
        "sent": len(sent),
        "accepted": len(accepted),
        "called_back": len(accepted & at.back.keys()),
        "to_target_ms": spread([(at.called[n] - sent[n]) * 1000 for n in at.called]),
        "to_callback_ms": spread([(at.back[n] - sent[n]) * 1000 for n in at.back]),
    }


def _noting(arrivals: dict[int, float]) -> Callable[[str, float], int]:
    def answer(path: str, at: float) -> int:
        if (number := number_of(path)) is not None:
            arrivals.setdefault(number, at)
        return 200

    return answer
