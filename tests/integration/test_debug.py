"""`/debug/tasks` of running services: what they do is in it, and nothing secret; and only from within."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.client import Api
from tests.support.pages import commands
from tests.support.target import HANG, Target
from tests.support.waiting import eventually

from carom_intake.domain.explaining.parts import CODES
from devstack.services import Service, Stack

pytestmark = pytest.mark.stack

PAGE = Path(__file__).parents[2] / "docs/operations/diagnosis.md"
PLANTED = "hunter2-planted"


async def tasks_of(service: Service) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{service.admin}/debug/tasks")
    assert answer.status_code == 200, answer.text
    assert PLANTED not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


async def test_a_call_that_hangs_is_seen_and_nothing_secret(api: Api, stack: Stack, target: Target) -> None:
    endpoint = target.endpoint(HANG)
    body = {
        "targetUrl": f"{endpoint.url}?token={PLANTED}",
        "method": "POST",
        "headers": {"Authorization": f"Bearer {PLANTED}", "X-Plain": PLANTED},
        "payload": {"card": PLANTED},
        "labels": {"team": PLANTED},
        "callbackUrl": f"{target.endpoint().url}?token={PLANTED}",
        "maxRetries": 0,
    }
    job_id = (await api.post(body)).json()["jobId"]
    await endpoint.one()

    async def seen() -> dict[str, Any] | None:
        found = await tasks_of(stack.executor)
        mine = [each for each in found["deliveries"]["shown"] if each["jobId"] == job_id]
        # Its lease is renewed every 3 s, and the time since is told.
        return (
            found | {"mine": mine[0]} if mine and mine[0]["leaseRenewedSecondsAgo"] < mine[0]["seconds"] - 1 else None
        )

    found = await eventually(seen, "the lease of the call is renewed", interval=0.2)
    mine = found["mine"]
    assert (mine["place"], mine["step"], mine["attempt"], mine["generation"]) == ("running", "call", 1, 1)
    assert mine["queue"].startswith("carom.execute.")
    assert (mine["tenant"], mine["channel"], mine["destination"]) == ("default", "open", target.host)
    assert 0 < mine["stepSeconds"] <= mine["seconds"]
    assert found["deliveries"]["counts"]["running"] >= 1
    assert any(host["host"] == target.host and host["running"] >= 1 for host in found["destinations"]["shown"])
    stacks = [frame for task in found["tasks"] for frame in task["stack"]]
    assert any(frame.startswith("carom_common.adapters.egress.") for frame in stacks)
    assert {"WorkLoop.keep_leases", "Gate.run"} <= {task["name"] for task in found["tasks"]}
    assert found["tasksTotal"] == len(found["tasks"])
    assert (found["service"], found["state"]["broker"], found["state"]["store"]) == ("executor", "ok", "ok")
    assert "leases" in found["loops"]
    assert found["loopLagMs"] < 5000
    running = (await api.http.get(f"/api/jobs/{job_id}?explain=true")).json()["explanation"]
    assert found["process"] in running["where"]
    endpoint.release()
    await api.wait_for_status(job_id)

    async def gone() -> bool:
        shown = (await tasks_of(stack.executor))["deliveries"]["shown"]
        return all(each["jobId"] != job_id for each in shown)

    await eventually(gone, "it is done")


async def test_every_service_has_it(stack: Stack) -> None:
    for kind, part in (("intake", "streams"), ("executor", "deliveries"), ("callback", "deliveries")):
        (service, *_) = stack.of(kind)
        found = await tasks_of(service)
        assert found["service"] == kind
        assert part in found
        assert found["broker"] == {"unconfirmed": 0, "oldestUnconfirmedSeconds": 0}
        assert found["store"]["waiting"] < 100
        assert found["settings"]["admin_port"] == service.admin_port
        text = json.dumps(found["settings"])
        assert "amqp" not in text
        assert "whsec_" not in text


async def test_the_commands_of_the_page_on_diagnosis_work(api: Api, stack: Stack, target: Target) -> None:
    """Every request that it tells a reader to make, as it stands there, but for ports; kubectl opens those."""
    job_id = await api.submit(target.endpoint().url)
    requests = [line for line in commands(PAGE.read_text()) if line.startswith("curl ")]
    assert len(requests) == 6
    for line in requests:
        there = line.replace("http://localhost:3000", stack.api).replace("http://127.0.0.1:8081", stack.executor.admin)
        environment = {"PATH": os.environ["PATH"], "KEY": "any", "JOB": job_id}
        process = await asyncio.create_subprocess_exec(
            *("bash", "-o", "pipefail", "-c", there), env=environment, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(30):
            printed, _ = await process.communicate()
        assert process.returncode == 0, line
        assert json.loads(printed).get("status") not in (400, 401, 403, 404, 503), line


def test_every_code_of_an_explanation_is_on_the_page() -> None:
    told = set(re.findall(r"`([a-z-]+)`", PAGE.read_text()))
    assert set(CODES) - told == {"completed", "callback-delivered", "callback-failed", "callback-not-wanted"}


@pytest.mark.parametrize("headers", [{"X-Forwarded-For": "127.0.0.1"}, {"Via": "1.1 x"}, {"Host": "evil.example"}])
async def test_nobody_in_between_gets_it(stack: Stack, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{stack.executor.admin}/debug/tasks", headers=headers)
        assert answer.status_code == 403
        assert "stack" not in answer.text
        assert (await client.get(f"{stack.executor.admin}/livez", headers=headers)).status_code == 200
