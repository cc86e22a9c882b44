"""Every administrative act is told: who, what, when, from where, and to how many."""

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.integration.conftest import ENV, Servers
from tests.integration.test_submit import check_problem
from tests.support.client import Api
from tests.support.intakes import Intakes, intakes
from tests.support.logs import Logs
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from carom_common.domain.clock import parse_rfc3339
from carom_intake.domain.audit import AuditAct
from carom_intake.domain.keys import Scope, new_key
from devstack.services import Stack

pytestmark = pytest.mark.stack

ADMIN = new_key("auditor", "audited", [Scope.ADMIN])
OTHER = new_key("other-admin", "audited-too", [Scope.ADMIN])
DEFAULT = new_key("root", "default", [Scope.ADMIN])
HOST = "audited.example:8080"


@pytest.fixture(scope="module")
async def one(stack: Stack, servers: Servers) -> AsyncIterator[Intakes]:
    env = ENV | {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}
    async with intakes(servers.directory / "audit", env, ADMIN, OTHER, DEFAULT) as started:
        yield started


async def trail(api: Api, **params: Any) -> list[dict[str, Any]]:
    answer = await api.http.get("/api/audit", params={"limit": 1000} | params)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["entries"]
    return entries


async def ok(api: Api, method: str, path: str, **more: Any) -> httpx.Response:
    answer = await api.http.request(method, path, headers={"X-Request-Id": f"by-{method}-{path}"}, **more)
    assert answer.is_success, answer.text
    return answer


async def dead_letter(api: Api, target: Target) -> str:
    job_id = await api.submit(target.endpoint(respond(500)).url, None, maxRetries=0)

    async def dead() -> bool:
        return (await api.http.get(f"/api/dead-letters/{job_id}")).status_code == 200

    await eventually(dead, f"{job_id} among the dead letters")
    return job_id


async def test_every_act_is_told(one: Intakes, target: Target, servers: Servers) -> None:
    api, begun = one.api(ADMIN.token), time.time() * 1000
    wanted: list[tuple[AuditAct, str, int | None]] = []

    def told(act: AuditAct, subject: str, count: int | None = None) -> None:
        wanted.append((act, subject, count))

    key_id = (await ok(api, "POST", "/api/keys", json={"scopes": ["operate"]})).json()["key"]["id"]
    told(AuditAct.KEY_MADE, key_id, 1)
    await ok(api, "DELETE", f"/api/keys/{key_id}")
    told(AuditAct.KEY_DELETED, key_id, 1)
    await ok(api, "PUT", f"/api/destinations/{HOST}", json={"concurrency": 2})
    told(AuditAct.DESTINATION_SET, HOST)
    await ok(api, "DELETE", f"/api/destinations/{HOST}")
    told(AuditAct.DESTINATION_RESET, HOST)
    job_id = await dead_letter(api, target)
    await ok(api, "POST", f"/api/dead-letters/{job_id}/redrive")
    told(AuditAct.DEAD_LETTER_REDRIVEN, job_id, 1)
    forgotten = await dead_letter(api, target)
    await ok(api, "DELETE", f"/api/dead-letters/{forgotten}")
    told(AuditAct.DEAD_LETTER_FORGOTTEN, forgotten, 1)
    await eventually(lambda: dead(api, job_id), "dead again")

    label = {"team": uuid.uuid4().hex[:8]}
    for _ in range(3):
        await api.submit(target.endpoint().url, None, delay=60_000, labels=label)
    body = {"labels": label}
    bulk = (await ok(api, "POST", "/api/jobs/cancel", json=body)).json()["id"]
    told(AuditAct.BULK_CANCEL_STARTED, bulk)
    await ended(api, f"/api/cancellations/{bulk}")
    told(AuditAct.BULK_CANCEL_ENDED, bulk, 3)
    redrive = (await ok(api, "POST", "/api/dead-letters/redrive", json={"createdAfter": "2020-01-01T00:00:00Z"})).json()
    told(AuditAct.BULK_REDRIVE_STARTED, redrive["id"])
    await ended(api, f"/api/redrives/{redrive['id']}")
    told(AuditAct.BULK_REDRIVE_ENDED, redrive["id"], 1)

    await ok(api, "POST", "/api/pause", json={"host": HOST})
    await ok(api, "POST", "/api/resume", json={"host": HOST})
    entries = await eventually(lambda: of_act(api, AuditAct.RESUMED), "the last act is told")
    paused = [entry for entry in entries if entry["act"] in (AuditAct.PAUSED, AuditAct.RESUMED)]
    assert all(HOST in entry["subject"] for entry in paused)
    found = [(entry["act"], entry["subject"], entry["count"]) for entry in reversed(entries) if entry not in paused]
    assert found == wanted
    assert {entry["act"] for entry in entries} == set(AuditAct), "each act there is"
    for entry in entries:
        assert (entry["by"], entry["tenant"], entry["address"]) == ("auditor", "audited", "127.0.0.1")
        assert begun - 1000 <= parse_rfc3339(entry["at"]) <= time.time() * 1000 + 1000
        assert str(entry["requestId"]).startswith("by-") or entry["act"].endswith("-ended")
    scopes = next(entry["detail"] for entry in entries if entry["act"] == AuditAct.KEY_MADE)
    assert "operate" in scopes
    assert label["team"] in next(e["detail"] for e in entries if e["act"] == AuditAct.BULK_CANCEL_STARTED)

    fields = ("act", "subject", "count", "by", "address")
    # A bulk act is ended by whichever replica does it.
    logged = [e for name in ("audit", "services") for e in Logs(servers.directory / name).events(event="audit")]
    told_to_log = {tuple(event[name] for name in fields) for event in logged if event["tenant"] == "audited"}
    assert told_to_log == {tuple(entry[name] for name in fields) for entry in entries}


async def dead(api: Api, job_id: str) -> bool:
    return (await api.http.get(f"/api/dead-letters/{job_id}")).status_code == 200


async def of_act(api: Api, act: AuditAct) -> list[dict[str, Any]]:
    entries = await trail(api)
    return entries if any(entry["act"] == act for entry in entries) else []


async def ended(api: Api, path: str) -> None:
    async def is_done() -> bool:
        return bool((await api.http.get(path)).json()["status"] == "done")

    await eventually(is_done, f"{path} is done")


async def test_what_was_refused_is_no_act(one: Intakes) -> None:
    api = one.api(OTHER.token)
    before = await trail(api)
    for method, path, body in (
        ("POST", "/api/keys", {"scopes": []}),
        ("DELETE", "/api/keys/nobody", None),
        ("POST", "/api/pause", {"host": "A B"}),
        ("DELETE", f"/api/dead-letters/{uuid.uuid4()}", None),
        ("POST", "/api/jobs/cancel", {}),
    ):
        assert not (await api.http.request(method, path, json=body)).is_success
    assert await trail(api) == before


async def test_a_tenant_sees_its_own_trail_alone(one: Intakes) -> None:
    """The operators' tenant sees every one."""
    api = one.api(OTHER.token)
    await ok(api, "POST", "/api/pause", json={"host": "seen.example"})
    await ok(api, "POST", "/api/resume", json={"host": "seen.example"})
    await eventually(lambda: of_act(api, AuditAct.RESUMED), "it is told")
    assert {entry["tenant"] for entry in await trail(api)} == {"audited-too"}
    check_problem(await api.http.get("/api/audit", params={"tenant": "audited"}), 403)
    seen = await trail(one.api(DEFAULT.token), tenant="audited-too")
    assert seen == await trail(api)


async def test_pages_newest_first(one: Intakes) -> None:
    api = one.api(OTHER.token)
    for _ in range(2):
        await ok(api, "DELETE", f"/api/destinations/{HOST}")
    entries = await eventually(lambda: of_act(api, AuditAct.DESTINATION_RESET), "it is told")
    entries = await trail(api)
    assert [entry["id"] for entry in entries] == sorted((e["id"] for e in entries), key=place, reverse=True)
    seen, cursor = [], ""
    while cursor is not None:
        page = (await api.http.get("/api/audit", params={"limit": 1, "cursor": cursor})).json()
        seen += page["entries"]
        cursor = page["nextCursor"]
    assert seen == entries
    for params in ({"cursor": "x"}, {"limit": 0}, {"limit": 1001}, {"act": "x"}, {"tenant": "A"}):
        check_problem(await api.http.get("/api/audit", params=params), 400)


def place(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.split("-")))
