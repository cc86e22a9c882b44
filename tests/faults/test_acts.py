"""kill -9 of intake in the middle of cancels, retries and redrives: what was recorded is published by another replica,
and each generation runs once. Nobody repeats a request here.
"""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from tests.support.crashing import ACT_POINTS
from tests.support.servers import Servers
from tests.support.witness import LoopThread, Witness

from devstack.process import wait_until
from devstack.services import Service, Stack

pytestmark = pytest.mark.fault

EACH = 10
NTH = 25
"""Of the fifty acts that are under way at once, or of the forty that publish."""
REPAIRED_WITHIN = 60.0


@pytest.fixture(scope="module")
def stack(steady_servers: Servers) -> Iterator[Stack]:
    with steady_servers.stack("acts", {"executor": 2}) as started:
        yield started


def plans(witness: Witness) -> dict[str, dict[str, Any]]:
    """What is submitted for each act: cancelled, run now, run again, and called back again."""
    receiver = witness.receiver()
    once = {"url": witness.receiver("500,200"), "retry": {"maxRetries": 0}}
    patient = {"retryDelay": 30_000, "retry": {"strategy": "fixed"}, "maxRetries": 3}
    return {
        "silent": {"targetUrl": witness.target("200"), "callbackUrl": None, "delay": 40_000},
        "cancel": {"targetUrl": witness.target("200"), "callbackUrl": receiver, "delay": 40_000},
        "waiting": {"targetUrl": witness.target("503,200"), "callbackUrl": receiver, **patient},
        "dead": {"targetUrl": witness.target("503,200"), "callbackUrl": receiver, "maxRetries": 0},
        "callback": {"targetUrl": witness.target("200"), "callback": once},
    }


ACTED = {
    "silent": ("DELETE", "/api/jobs/{}"),
    "cancel": ("DELETE", "/api/jobs/{}"),
    "waiting": ("POST", "/api/jobs/{}/retry"),
    "dead": ("POST", "/api/dead-letters/{}/redrive"),
    "callback": ("POST", "/api/dead-letters/{}/redrive"),
}


def is_ready(kind: str, document: dict[str, Any]) -> bool:
    match kind:
        case "cancel" | "silent":
            return bool(document["status"] == "scheduled")
        case "waiting":
            return bool(document["status"] == "waiting")
        case "dead":
            return bool(document["callback"]["status"] == "delivered")
        case _:
            return bool(document["callback"]["status"] == "failed")


def was_recorded(kind: str, state: dict[str, str]) -> bool:
    match kind:
        case "cancel" | "silent":
            return state["status"] == "cancelled"
        case "callback":
            return state.get("callback_generation") == "2"
        case _:
            return state["generation"] == "2"


async def act(base: str, jobs: dict[str, str]) -> int:
    """All acts at once; gives how many were answered before the process was gone."""

    async def one(client: httpx.AsyncClient, job_id: str, kind: str) -> bool:
        method, path = ACTED[kind]
        try:
            answer = await client.request(method, base + path.format(job_id))
        except httpx.HTTPError:
            return False
        assert answer.status_code in (200, 202), answer.text
        return True

    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        return sum(await asyncio.gather(*(one(client, job_id, kind) for job_id, kind in jobs.items())))


@pytest.mark.parametrize("point", ACT_POINTS)
def test_kill(
    point: str, stack: Stack, steady_servers: Servers, witness: Witness, loop_thread: LoopThread, tmp_path: Path
) -> None:
    doomed = stack.add("intake")
    trace = str(tmp_path / "trace")
    doomed.command = [sys.executable, "-m", "tests.support.crashing", "intake", point, str(NTH), trace]
    stack.services.remove(doomed)
    doomed.start()
    with redis.Redis.from_url(steady_servers.redis.url, decode_responses=True) as store:
        jobs = submitted(stack.intake, witness)
        answered = loop_thread.run(act(doomed.url, jobs), 60)
        assert wait_until(lambda: not doomed.alive, 20), f"intake did not pass {point} {NTH} times"
        assert doomed.exit_code == -signal.SIGKILL

        def state(job_id: str) -> dict[str, str]:
            return dict(store.hgetall(f"carom:{{{job_id}}}:state"))

        recorded = {job_id: kind for job_id, kind in jobs.items() if was_recorded(kind, state(job_id))}
        assert len(recorded) > answered, "some were recorded, and nobody was told"

        def unfinished() -> list[str]:
            states = {job_id: state(job_id) for job_id in recorded}
            return [job_id for job_id, found in states.items() if found.get("callback") not in ("delivered", "none")]

        assert wait_until(lambda: not unfinished(), REPAIRED_WITHIN), f"{unfinished()} wait for ever"
        assert wait_until(lambda: store.zcard("carom:owed") == 0, REPAIRED_WITHIN)
        assert not [job_id for job_id in recorded if "owed" in state(job_id)]
    for job_id, kind in recorded.items():
        assert_done_once(kind, job_id, witness)
    page = httpx.get(f"{stack.api}/api/jobs?status=cancelled&limit=1000", trust_env=False).json()
    missing = {job_id for job_id, kind in recorded.items() if kind in ("cancel", "silent")}
    missing -= {job["jobId"] for job in page["jobs"]}
    assert not missing, f"{missing} are cancelled, and no list shows them"


def submitted(intake: Service, witness: Witness) -> dict[str, str]:
    """Fifty jobs that wait for their acts, by id, of every kind in turn."""
    made: dict[str, str] = {}
    with httpx.Client(base_url=intake.url, trust_env=False, timeout=20) as client:
        for _ in range(EACH):
            for kind, plan in plans(witness).items():
                answer = client.post("/api/jobs", json=plan)
                assert answer.status_code == 202, answer.text
                made[answer.json()["jobId"]] = kind

        def ready() -> bool:
            return all(is_ready(kind, client.get(f"/api/jobs/{job_id}").json()) for job_id, kind in made.items())

        assert wait_until(ready, 30, 0.2)
    return made


def assert_done_once(kind: str, job_id: str, witness: Witness) -> None:
    calls = Counter(call.attempt for call in witness.called(job_id))
    callbacks = Counter((callback.webhook_id, callback.answered) for callback in witness.callbacks[job_id])
    match kind:
        case "silent":
            assert (calls, callbacks) == ({}, {})
        case "cancel":
            assert (calls, callbacks) == ({}, {(f"{job_id}_1_cancelled", 200): 1})
        case "waiting":
            assert (calls, callbacks) == ({1: 1, 2: 1}, {(f"{job_id}_2_completed", 200): 1})
        case "dead":
            expected = {(f"{job_id}_1_failed", 200): 1, (f"{job_id}_2_completed", 200): 1}
            assert (calls, callbacks) == ({1: 1, 2: 1}, expected)
        case _:
            identity = f"{job_id}_1_completed"
            assert (calls, callbacks) == ({1: 1}, {(identity, 500): 1, (identity, 200): 1})
