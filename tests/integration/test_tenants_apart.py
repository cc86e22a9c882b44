"""Every route with two tenants: what is another's is not there, on none of them; and nobody gets in without a key."""

import re
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.integration.conftest import ENV, Servers
from tests.support.client import Api
from tests.support.intakes import Intakes, intakes
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from carom_intake.domain.keys import ALL_SCOPES, Scope, new_key
from carom_intake.openapi.describing import Operation
from carom_intake.openapi.operations import OPERATIONS
from devstack.services import Stack

pytestmark = pytest.mark.stack

MINE = new_key("mine", "mine", [Scope.ADMIN])
THEIRS = new_key("theirs", "theirs", [Scope.ADMIN])
NARROW = {scope: new_key(f"no-{scope.value.replace(':', '-')}", "mine", sorted(ALL_SCOPES - {scope, Scope.ADMIN}))
          for scope in Scope}  # fmt: skip

GUARDED = [operation for operation in OPERATIONS if operation.scope]
HELD_BY_ID = [operation for operation in GUARDED if re.search(r"\{(jobId|id|keyId)\}", operation.path)]


@pytest.fixture(scope="module")
async def one(stack: Stack, servers: Servers) -> AsyncIterator[Intakes]:
    env = ENV | {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}
    async with intakes(servers.directory / "apart", env, MINE, THEIRS, *NARROW.values()) as started:
        yield started


class Things:
    """What a tenant has: a dead job, a waiting one, bulk acts of both sorts, a key; and a label of its own."""

    def __init__(self) -> None:
        self.label = f"w{uuid.uuid4().hex[:8]}"
        self.job = self.dead = self.cancellation = self.redrive = self.key = ""

    @property
    def ids(self) -> list[str]:
        return [self.job, self.dead, self.cancellation, self.redrive, self.key, self.label]


@pytest.fixture(scope="module")
async def things(one: Intakes, target: Target) -> Things:
    api, made = one.api(MINE.token), Things()
    labels = {"owner": made.label}
    made.job = await api.submit(target.endpoint().url, delay=600_000, labels=labels)
    made.dead = await api.submit(target.endpoint(respond(500)).url, maxRetries=0, labels=labels)

    async def dead() -> bool:
        return (await api.http.get(f"/api/dead-letters/{made.dead}")).status_code == 200

    await eventually(dead, "a dead letter")
    none = {"labels": {"owner": "nobody"}}
    made.cancellation = (await api.http.post("/api/jobs/cancel", json=none)).json()["id"]
    made.redrive = (await api.http.post("/api/dead-letters/redrive", json=none)).json()["id"]
    made.key = (await api.http.post("/api/keys", json={"scopes": ["jobs:read"], "name": made.label})).json()["key"][
        "id"
    ]
    return made


def path_of(operation: Operation, things: Things) -> str:
    """Its path with what the tenant has in it."""
    own = {"/api/cancellations": things.cancellation, "/api/redrives": things.redrive, "/api/dead": things.dead}
    found = next((thing for start, thing in own.items() if operation.path.startswith(start)), things.job)
    path = operation.path.replace("{jobId}", found).replace("{id}", found)
    return path.replace("{keyId}", things.key).replace("{host}", "apart.example")


def body_of(operation: Operation) -> Any:
    return next(iter(operation.body.examples.values()))[1] if operation.body else None


async def call(api: Api, operation: Operation, path: str, **headers: str) -> httpx.Response:
    more = {"json": body_of(operation)} if operation.body else {}
    return await api.http.request(operation.method, path, headers=headers, timeout=30, **more)


def name_of(operation: Operation) -> str:
    return operation.id


@pytest.mark.parametrize("operation", HELD_BY_ID, ids=name_of)
async def test_what_is_anothers_is_not_there(one: Intakes, things: Things, operation: Operation) -> None:
    """404, with the very words for what never was; and the owner has it still."""
    theirs = one.api(THEIRS.token)
    path = path_of(operation, things)
    assert path != operation.path
    answer = await call(theirs, operation, path, **{"X-Request-Id": "same"})
    known = next(thing for thing in things.ids if thing in path)
    absent_id = "nobody" if known == things.key else str(uuid.uuid4())
    absent = await call(theirs, operation, path.replace(known, absent_id), **{"X-Request-Id": "same"})
    assert (answer.status_code, answer.text) == (404, absent.text)
    mine = one.api(MINE.token)
    for show in (f"/api/jobs/{things.job}", f"/api/dead-letters/{things.dead}", f"/api/keys/{things.key}"):
        assert (await mine.http.get(show)).status_code == 200, f"{operation.id} touched it"
    assert (await mine.typed(things.job))["status"] == "scheduled"


LISTS = [operation for operation in GUARDED if operation.method == "GET" and operation not in HELD_BY_ID]


@pytest.mark.parametrize("operation", LISTS, ids=name_of)
async def test_no_list_shows_what_is_anothers(one: Intakes, things: Things, operation: Operation) -> None:
    path = path_of(operation, things)
    if "events" in operation.path:
        pytest.skip("a stream: tests/integration/test_auth.py")
    theirs, mine = [await call(one.api(key.token), operation, path) for key in (THEIRS, MINE)]
    shown = theirs.text
    assert not [thing for thing in things.ids if thing in shown]
    assert mine.status_code == 200


async def test_bulk_acts_reach_their_own_tenant_alone(one: Intakes, things: Things) -> None:
    theirs, mine = one.api(THEIRS.token), one.api(MINE.token)
    body = {"labels": {"owner": things.label}}
    for path in ("/api/jobs/cancel", "/api/dead-letters/redrive"):
        assert (await theirs.http.post(path, json=body | {"dryRun": True})).json()["count"] == 0
        assert (await mine.http.post(path, json=body | {"dryRun": True})).json()["count"] > 0
    handle = (await theirs.http.post("/api/jobs/cancel", json=body)).json()["id"]

    async def done() -> bool:
        return bool((await theirs.http.get(f"/api/cancellations/{handle}")).json()["status"] == "done")

    await eventually(done, "it is done")
    assert (await mine.typed(things.job))["status"] == "scheduled"
    pause = {"label": {"key": "owner", "value": things.label}}
    await mine.http.post("/api/pause", json=pause)
    assert (await theirs.http.post("/api/resume", json=pause)).json() == {"pauses": []}
    assert len((await mine.http.get("/api/pauses")).json()["pauses"]) == 1
    await mine.http.post("/api/resume", json=pause)


@pytest.mark.parametrize("operation", GUARDED, ids=name_of)
async def test_every_route_wants_a_key_with_its_scope(one: Intakes, things: Things, operation: Operation) -> None:
    path = path_of(operation, things)
    unknown = new_key("mine", "mine", [Scope.ADMIN]).token
    answers = [await call(one.api(token), operation, path, **{"X-Request-Id": "same"}) for token in (None, unknown)]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].text == answers[1].text
    assert operation.scope is not None
    answer = await call(one.api(NARROW[operation.scope].token), operation, path)
    assert answer.status_code == 403
    assert f"the scope {operation.scope}" in answer.json()["detail"]


async def test_refusals_take_the_same_time(one: Intakes) -> None:
    """An unknown id, a wrong secret of a known one, and a key that has ended or counts elsewhere.

    The medians of many, taken in turns: a difference that could be used would be that of a look-up, a hash or a round
    trip to the store. Which of them are made at all, tests/unit/intake/test_keys.py counts.
    """
    api = one.api(MINE.token)
    made = await api.http.post("/api/keys", json={"scopes": ["jobs:read"], "cidrs": ["192.0.2.0/24"]})
    elsewhere = made.json()["token"]
    of_api, _, secret = elsewhere.rpartition("_")
    tokens = {
        "unknown id": new_key("nobody", "mine", [Scope.ADMIN]).token,
        "wrong secret": new_key("mine", "mine", [Scope.ADMIN]).token,
        "wrong secret of the api": f"{of_api}_{secret[::-1]}",
        "elsewhere": elsewhere,
    }
    taken: dict[str, list[float]] = {name: [] for name in tokens}
    clients = {name: one.api(token) for name, token in tokens.items()}
    for _ in range(150):
        for name, client in clients.items():
            begun = time.perf_counter()
            answer = await client.http.get("/api/jobs/x")
            taken[name].append(time.perf_counter() - begun)
            assert answer.status_code == 401
    medians = {name: statistics.median(times[20:]) for name, times in taken.items()}
    assert max(medians.values()) < 1.5 * min(medians.values()), medians
