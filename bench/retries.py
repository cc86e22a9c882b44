"""How late retries start: the second attempt's arrival at the target minus the `nextAttemptAt` that was told before."""

import asyncio
import json
import time
from datetime import datetime
from typing import Any, NamedTuple

from bench.client import Client
from bench.endpoint import POLL_SECONDS, endpoint, until
from bench.job import API_PATH, job, number_of
from bench.report import say, spread, table, title
from bench.stand import Stand

GOAL_P99_MS = 150
WAIT_SECONDS = 20

# Delays that take one hop through a bucket, and fixed ones between buckets, for which the consumer holds the rest.
KINDS: dict[str, dict[str, Any]] = {
    "1000 ms, equal jitter": {"retryDelay": 1000},
    "700 ms, full jitter": {"retryDelay": 700, "retry": {"strategy": "linear", "jitter": "full"}},
    "fixed 137 ms": {"retryDelay": 137, "retry": {"strategy": "fixed"}},
    "fixed 770 ms": {"retryDelay": 770, "retry": {"strategy": "fixed"}},
    "fixed 1234 ms": {"retryDelay": 1234, "retry": {"strategy": "fixed"}},
    "fixed 2950 ms": {"retryDelay": 2950, "retry": {"strategy": "fixed"}},
}


class Retry(NamedTuple):
    kind: str
    told: int | None
    """`nextAttemptAt` in Unix milliseconds; None when it was not seen in time."""
    delay: int | None
    """From the end of the first attempt to `nextAttemptAt`."""
    came: float | None
    """When the second attempt came, in Unix milliseconds."""


class _Conversation:
    """Arrivals at the target by job: the first is refused, each later one accepted."""

    def __init__(self) -> None:
        self.arrivals: dict[int, list[float]] = {}
        self.called_back: set[int] = set()

    def at_target(self, path: str, at: float) -> int:
        number = number_of(path)
        assert number is not None
        arrivals = self.arrivals.setdefault(number, [])
        arrivals.append(at * 1000)
        return 503 if len(arrivals) == 1 else 200

    def at_receiver(self, path: str, _: float) -> int:
        if (number := number_of(path)) is not None:
            self.called_back.add(number)
        return 200


def measure(count: int, rate: float) -> dict[str, Any]:
    title(f"lateness of {count} retries at {rate:g} jobs/s")
    with Stand() as stand:
        retries, conversation = asyncio.run(_measure(stand.stack.api, count, rate))
        complaints = stand.complaints()
    result = _judge(retries)
    table(
        ["ms late", "retries", "p50", "p99", "max", "early"],
        [[name, *row.values()] for name, row in result.items()],
    )
    every = result["all"]
    met = every["p99"] is not None and every["p99"] <= GOAL_P99_MS
    say(f"  p99 is {'within' if met else 'over'} the goal of {GOAL_P99_MS} ms")
    again = sum(len(arrivals) > 2 for arrivals in conversation.arrivals.values())
    amiss = {
        f"{every['early']} retries came before their nextAttemptAt": every["early"],
        f"{sum(r.came is None for r in retries)} retries did not come": any(r.came is None for r in retries),
        f"{sum(r.told is None for r in retries)} times no nextAttemptAt was told": any(r.told is None for r in retries),
        f"{_inexact(retries)} fixed delays were told as another": _inexact(retries),
        f"{again} jobs were called a third time": again,
        f"{count - len(conversation.called_back)} callbacks did not come": count != len(conversation.called_back),
        f"{len(complaints)} errors logged, the first: {complaints[:1]}": complaints,
    }
    return {"late_ms": result, "goal_met": met, "problems": [text for text, wrong in amiss.items() if wrong]}


async def _measure(api: str, count: int, rate: float) -> tuple[list[Retry], _Conversation]:
    conversation = _Conversation()
    kinds = list(KINDS)
    async with (
        endpoint(conversation.at_target) as target,
        endpoint(conversation.at_receiver) as receiver,
        Client(api) as client,
    ):

        async def one(number: int) -> Retry:
            kind = kinds[number % len(kinds)]
            body = json.dumps(job(target, receiver, number, **KINDS[kind])).encode()
            status, answer = await client.post(API_PATH, body)
            if status != 202:
                return Retry(kind, None, None, None)
            path = f"{API_PATH}/{json.loads(answer)['jobId']}"
            arrivals = conversation.arrivals.setdefault(number, [])
            told, delay = await _told(client, path, arrivals)
            await until(lambda: number in conversation.called_back, WAIT_SECONDS)
            return Retry(kind, told, delay, arrivals[1] if len(arrivals) > 1 else None)

        await one(count)  # the first job opens connections and is not counted
        start, tasks = time.monotonic(), []
        for number in range(count):
            await asyncio.sleep(start + number / rate - time.monotonic())
            tasks.append(asyncio.create_task(one(number)))
        retries = await asyncio.gather(*tasks)
        del conversation.arrivals[count]
        conversation.called_back.discard(count)
        return retries, conversation


async def _told(client: Client, path: str, arrivals: list[float]) -> tuple[int | None, int | None]:
    """The time that the job's document names while it waits, and the delay that this makes."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end and len(arrivals) < 2:
        if arrivals and (document := await client.get(path))["nextAttemptAt"]:
            told = ms_of(document["nextAttemptAt"])
            return told, told - ms_of(document["attemptsLog"][0]["timestamp"])
        await asyncio.sleep(POLL_SECONDS)
    return None, None


def ms_of(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _inexact(retries: list[Retry]) -> int:
    """Fixed delays for which `nextAttemptAt` is not the attempt's end plus the delay."""
    fixed = [r for r in retries if r.kind.startswith("fixed")]
    return sum(r.delay is not None and r.delay != KINDS[r.kind]["retryDelay"] for r in fixed)


def _judge(retries: list[Retry]) -> dict[str, dict[str, Any]]:
    late = [(r.kind, r.came - r.told) for r in retries if r.came is not None and r.told is not None]
    by_kind = {kind: [ms for k, ms in late if k == kind] for kind in KINDS} | {"all": [ms for _, ms in late]}
    return {
        kind: {"retries": len(values), **spread(values), "early": sum(ms < 0 for ms in values)}
        for kind, values in by_kind.items()
    }
