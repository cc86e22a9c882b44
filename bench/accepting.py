"""Taking jobs in: posts of one job, of one with an Idempotency-Key, of a thousand; and how late delayed jobs start."""

import asyncio
import itertools
import json
import time
import uuid
from typing import Any

from bench.client import Client
from bench.endpoint import endpoint, until
from bench.job import API_PATH, job, number_of
from bench.report import say, spread, table, title
from bench.retries import GOAL_P99_MS, ms_of
from bench.stand import Stand
from bench.usage import cpu_ms_each, cpu_seconds
from devstack.errors import DevstackError

BATCH_PATH, BATCH_JOBS = f"{API_PATH}/batch", 1000
CONNECTIONS = {"one": 64, "one, with a key": 64, "a batch of 1000": 4}
DELAYS = (137, 770, 1000, 1234, 2950)
DELAYED, DELAYED_RATE = 250, 25
WAIT_SECONDS = 20


def measure(seconds: int) -> dict[str, Any]:
    """Each way for so many seconds while no executor runs, then delayed jobs while one does."""
    title(f"taking jobs in for {seconds} s each way")
    with Stand() as stand:
        if stand.stack.executor.terminate():
            raise DevstackError("the executor did not stop cleanly")
        ways = {way: asyncio.run(_submit(stand, way, seconds)) for way in CONNECTIONS}
        complaints = stand.complaints()
    with Stand() as stand:
        late, missing = asyncio.run(_delayed(stand.stack.api))
    table(
        ["a request with", "jobs/s", "intake", "RabbitMQ", "Redis"],
        [[way, found["jobs_per_s"], *found["cpu_ms_per_job"].values()] for way, found in ways.items()],
    )
    times = ways["a batch of 1000"]["jobs_per_s"] / max(1.0, ways["one"]["jobs_per_s"])
    say(f"  CPU in ms a job; batches take in {times:.1f} times the jobs/s of single posts\n")
    lateness = {"jobs": len(late), **spread(late), "early": sum(value < 0 for value in late)}
    table(["ms late", "jobs", "p50", "p99", "max", "early"], [["delayed", *lateness.values()]])
    met = lateness["p99"] is not None and lateness["p99"] <= GOAL_P99_MS
    say(f"  p99 is {'within' if met else 'over'} the goal of {GOAL_P99_MS} ms")
    amiss = {
        f"{lateness['early']} delayed jobs came early": lateness["early"],
        f"{missing} delayed jobs did not come": missing,
        f"{sum(found['refused'] for found in ways.values())} requests were refused": any(
            found["refused"] for found in ways.values()
        ),
        f"{len(complaints)} errors logged, the first: {complaints[:1]}": complaints,
    }
    return {
        "ways": ways,
        "batch_times": round(times, 2),
        "delayed_late_ms": lateness,
        "problems": [text for text, wrong in amiss.items() if wrong],
    }


async def _submit(stand: Stand, way: str, seconds: int) -> dict[str, Any]:
    one = json.dumps(job(stand.target.url, stand.receiver.url)).encode()
    batch = b'{"jobs":[' + b",".join([one] * BATCH_JOBS) + b"]}"
    path, body, jobs = (BATCH_PATH, batch, BATCH_JOBS) if way.startswith("a batch") else (API_PATH, one, 1)
    refused = accepted = 0
    async with Client(stand.stack.api) as client:
        used, start = cpu_seconds(stand.pids()), time.monotonic()

        async def worker() -> None:
            nonlocal refused, accepted
            while time.monotonic() < start + seconds:
                headers = {"idempotency-key": str(uuid.uuid4())} if way.endswith("key") else {}
                status, answer = await client.post(path, body, headers)
                taken = answer.count(b'"status":202') if path == BATCH_PATH else int(status == 202)
                accepted += taken
                refused += jobs - taken

        await asyncio.gather(*(worker() for _ in range(CONNECTIONS[way])))
        took, after = time.monotonic() - start, cpu_seconds(stand.pids())
    each = cpu_ms_each(used, after, accepted)
    cpu = {name: round(each[name], 3) for name in ("intake", "RabbitMQ", "Redis")}
    return {"jobs_per_s": accepted / took, "cpu_ms_per_job": cpu, "refused": refused}


async def _delayed(api: str) -> tuple[list[float], int]:
    """Milliseconds from the time that a job's document names to its call; and how many were not called."""
    came: dict[int, float] = {}

    def at_target(path: str, at: float) -> int:
        if (number := number_of(path)) is not None:
            came[number] = at * 1000
        return 200

    due: dict[int, int] = {}
    async with endpoint(at_target) as target, Client(api) as client:

        async def one(number: int, delay: int) -> None:
            body = json.dumps(job(target, target, number, delay=delay, callbackUrl=None)).encode()
            status, answer = await client.post(API_PATH, body)
            if status == 202:
                document = await client.get(f"{API_PATH}/{json.loads(answer)['jobId']}")
                due[number] = ms_of(document["createdAt"]) + delay

        await one(DELAYED, 100)  # the first opens connections and is not counted
        await until(lambda: DELAYED in came, WAIT_SECONDS)
        start, tasks = time.monotonic(), []
        for number, delay in zip(range(DELAYED), itertools.cycle(DELAYS)):
            await asyncio.sleep(start + number / DELAYED_RATE - time.monotonic())
            tasks.append(asyncio.create_task(one(number, delay)))
        await asyncio.gather(*tasks)
        await until(lambda: len(came) > DELAYED, WAIT_SECONDS)
    return [came[n] - due[n] for n in range(DELAYED) if n in came and n in due], sum(
        n not in came for n in range(DELAYED)
    )
