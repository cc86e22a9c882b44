"""Keys that are made through the API: at all replicas within 5 s, gone as fast, and never more than their maker has."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis as Client
from tests.integration.conftest import ENV, Servers
from tests.integration.test_submit import check_problem
from tests.support.client import Api
from tests.support.intakes import Intakes, intakes
from tests.support.logs import Logs
from tests.support.waiting import eventually

from carom_intake.domain.keys import Scope, new_key
from devstack.servers import Redis
from devstack.services import Stack

pytestmark = pytest.mark.stack

EFFECT_SECONDS = 5
"""After this a key that was made, or deleted, anywhere counts everywhere."""

ADMIN = new_key("admin", "default", [Scope.ADMIN])
SHOP = new_key("shop-admin", "shop", [Scope.ADMIN])
BILLING = new_key("billing-admin", "billing", [Scope.ADMIN])
OPERATOR = new_key("operator", "shop", [Scope.OPERATE, Scope.JOBS_READ, Scope.JOBS_WRITE, Scope.PAYLOADS_READ])


def urls(servers: Servers) -> dict[str, str]:
    return ENV | {"RABBITMQ_URL": servers.rabbitmq.url, "REDIS_URL": servers.redis.url}


@pytest.fixture(scope="module")
async def two(stack: Stack, servers: Servers) -> AsyncIterator[Intakes]:
    env = urls(servers) | {"CAROM_TRUSTED_PROXIES": "127.0.0.9"}
    keys = (ADMIN, SHOP, BILLING, OPERATOR)
    async with intakes(servers.directory / "api-keys", env, *keys, replicas=2) as started:
        yield started


async def make(api: Api, **fields: Any) -> tuple[str, str]:
    """Id and token of a new key."""
    answer = await api.http.post("/api/keys", json={"scopes": ["jobs:read"]} | fields)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert answer.headers["location"] == f"/api/keys/{made['key']['id']}"
    return made["key"]["id"], made["token"]


async def status(api: Api, headers: dict[str, str] | None = None) -> int:
    """404: it was let in, and there is no such job."""
    return (await api.http.get(f"/api/jobs/{uuid.uuid4()}", headers=headers)).status_code


def answers(api: Api, wanted: int) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return await status(api) == wanted

    return ask


async def test_a_key_counts_at_every_replica_and_ends_with_its_deletion(two: Intakes) -> None:
    key_id, token = await make(two.api(SHOP.token))
    assert await status(two.api(token)) == 404, "at once where it was made"
    other = two.api(token, 1)
    await eventually(answers(other, 404), "it counts at the other replica", EFFECT_SECONDS)
    assert (await two.api(SHOP.token, 1).http.delete(f"/api/keys/{key_id}")).status_code == 204
    assert await status(other) == 401, "at once where it was deleted"
    await eventually(answers(two.api(token), 401), "it is gone at the first", EFFECT_SECONDS)
    check_problem(await two.api(SHOP.token).http.get(f"/api/keys/{key_id}"), 404)


async def test_a_key_is_shown_without_its_secret(two: Intakes, servers: Servers) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    asked = {
        "id": f"shown-{uuid.uuid4().hex[:8]}",
        "name": "für die Kasse",
        "scopes": ["jobs:write", "jobs:read"],
        "expiresAt": ends.isoformat(),
        "cidrs": ["10.0.0.0/8"],
        "rate": {"perSecond": 5},
    }
    api = two.api(SHOP.token)
    key_id, token = await make(api, **asked)
    shown = (await api.http.get(f"/api/keys/{key_id}")).json()
    assert shown["createdAt"] is not None
    assert shown == {
        **asked,
        "scopes": ["jobs:read", "jobs:write"],
        "tenant": "shop",
        "expiresAt": ends.isoformat().replace("+00:00", "Z"),
        "rate": {"perSecond": 5, "burst": None},
        "source": "api",
        "createdAt": shown["createdAt"],
        "createdBy": "shop-admin",
    }
    listed = (await api.http.get("/api/keys", params={"limit": 1000})).json()
    assert {"shop-admin", "operator", key_id} <= {key["id"] for key in listed["keys"]}
    assert {key["tenant"] for key in listed["keys"]} == {"shop"}
    secret = token.rpartition("_")[2]
    client = Client.from_url(servers.redis.url)
    kept: Any = await client.hget("carom:{keys}:entries", key_id)
    await client.aclose()
    assert kept is not None
    for text in (json.dumps(shown), kept.decode(), Logs(servers.directory / "api-keys").text()):
        assert secret not in text
    assert "hash" not in json.dumps([shown, listed])


async def test_pages_of_keys(two: Intakes) -> None:
    api = two.api(BILLING.token)
    made = sorted([(await make(api))[0] for _ in range(3)] + ["billing-admin"])
    seen, cursor = [], ""
    while cursor is not None:
        page = (await api.http.get("/api/keys", params={"limit": 2, "cursor": cursor})).json()
        assert len(page["keys"]) <= 2
        seen += [key["id"] for key in page["keys"]]
        cursor = page["nextCursor"]
    assert seen == made
    for key_id in made[1:]:
        await api.http.delete(f"/api/keys/{key_id}")


async def test_an_admin_has_the_keys_of_its_own_tenant_alone(two: Intakes) -> None:
    """Another tenant's key is no key; the operators' tenant is the one exception."""
    key_id, _ = await make(two.api(SHOP.token))
    billing = two.api(BILLING.token)
    check_problem(await billing.http.post("/api/keys", json={"scopes": ["jobs:read"], "tenant": "shop"}), 403)
    for path in ("/api/keys", "/api/audit"):
        check_problem(await billing.http.get(path, params={"tenant": "shop"}), 403)
    absent = check_problem(await billing.http.get("/api/keys/nobody"), 404)["detail"]
    for answer in (await billing.http.get(f"/api/keys/{key_id}"), await billing.http.delete(f"/api/keys/{key_id}")):
        assert check_problem(answer, 404)["detail"] == absent
    check_problem(await billing.http.get("/api/keys/shop-admin"), 404)

    operators = two.api(ADMIN.token)
    assert (await operators.http.get(f"/api/keys/{key_id}")).json()["tenant"] == "shop"
    listed = (await operators.http.get("/api/keys", params={"tenant": "shop", "limit": 1000})).json()["keys"]
    assert key_id in {key["id"] for key in listed}
    theirs, token = await make(operators, tenant="billing", scopes=["jobs:read"])
    assert (await two.api(BILLING.token).http.get(f"/api/keys/{theirs}")).status_code == 200
    assert await status(two.api(token)) == 404
    assert (await operators.http.delete(f"/api/keys/{key_id}")).status_code == 204


async def test_only_an_admin_makes_keys(two: Intakes) -> None:
    """Every other scope together is not enough: nobody gets more by making a key."""
    api = two.api(OPERATOR.token)
    for method, path in (
        ("POST", "/api/keys"),
        ("GET", "/api/keys"),
        ("GET", "/api/keys/operator"),
        ("DELETE", "/api/keys/operator"),
        ("GET", "/api/audit"),
    ):
        answer = await api.http.request(method, path, json={"scopes": ["admin"]} if method == "POST" else None)
        assert "admin" in check_problem(answer, 403)["detail"]


async def test_an_id_is_given_once(two: Intakes) -> None:
    api = two.api(SHOP.token)
    key_id, token = await make(api)
    for taken in (key_id, "billing-admin"):
        problem = check_problem(await api.http.post("/api/keys", json={"id": taken, "scopes": ["jobs:read"]}), 409)
        assert problem["reason"] == "key-exists"
    assert await status(two.api(token)) == 404, "the first one is what it was"
    problem = check_problem(await api.http.delete("/api/keys/shop-admin"), 409)
    assert problem["reason"] == "key-in-file"


BAD: dict[str, tuple[dict[str, Any], ...]] = {
    "scopes": ({"scopes": []}, {"scopes": ["jobs:fly"]}, {"scopes": "admin"}, {}),
    "id": ({"id": "A"}, {"id": "a_b"}, {"id": "a\n"}, {"id": "callback"}, {"id": "a" * 33}),
    "tenant": ({"tenant": "A"}, {"tenant": "a\n"}),
    "expiresAt": ({"expiresAt": "2020-01-01T00:00:00Z"}, {"expiresAt": "2099-01-01"}, {"expiresAt": "soon"}),
    "cidrs": ({"cidrs": ["10.0.0.1/8"]}, {"cidrs": ["x"]}, {"cidrs": ["10.0.0.0/33"]}, {"cidrs": ["::/0"] * 65}),
    "rate": ({"rate": {"perSecond": 0}}, {"rate": {"perSecond": 1, "burst": 0}}, {"rate": 1}),
    "name": ({"name": "a\nb"}, {"name": "x" * 201}),
    "hash": ({"hash": "0" * 64},),
}


@pytest.mark.parametrize(("field", "body"), [(field, body) for field, bodies in BAD.items() for body in bodies])
async def test_what_is_no_key_is_refused_by_name(two: Intakes, field: str, body: dict[str, Any]) -> None:
    sent = body if field == "scopes" else {"scopes": ["jobs:read"]} | body
    problem = check_problem(await two.api(SHOP.token).http.post("/api/keys", json=sent), 400)
    assert all(error["pointer"].startswith(f"/{field}") for error in problem["errors"])


# When and from where


async def test_a_key_ends_at_its_time(two: Intakes) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=2)
    _, token = await make(two.api(SHOP.token), expiresAt=ends.isoformat())
    api = two.api(token)
    assert await status(api) == 404
    await eventually(answers(api, 401), "it has ended", EFFECT_SECONDS)
    assert datetime.now(UTC) >= ends


async def test_a_key_counts_from_its_addresses_alone(two: Intakes) -> None:
    """The answer from elsewhere is the one that everybody without a key gets."""
    here = two.api((await make(two.api(SHOP.token), cidrs=["10.0.0.0/8", "127.0.0.1"]))[1])
    there = two.api((await make(two.api(SHOP.token), cidrs=["10.0.0.0/8"]))[1])
    assert await status(here) == 404
    nobody = await two.api(None).http.get("/api/jobs/x", headers={"X-Request-Id": "same"})
    refused = await there.http.get("/api/jobs/x", headers={"X-Request-Id": "same"})
    assert (refused.status_code, refused.text) == (401, nobody.text)
    assert await status(there, {"X-Forwarded-For": "10.0.0.1"}) == 401, "nobody's word counts for it"


async def test_a_trusted_proxy_says_where_a_request_comes_from(two: Intakes, servers: Servers) -> None:
    token = (await make(two.api(SHOP.token), cidrs=["10.0.0.0/8"]))[1]
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.9")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=two.services[0].url, transport=transport, headers=headers) as proxy:

        async def ask(*forwarded: str) -> int:
            sent = [("X-Forwarded-For", value) for value in forwarded]
            return (await proxy.get("/api/jobs/x", headers=sent)).status_code

        assert await ask("10.1.2.3") == 404
        assert await ask("192.0.2.1, 10.1.2.3") == 404
        assert await ask("10.1.2.3, 127.0.0.9") == 404, "a proxy behind a proxy"
        assert await ask("::ffff:10.1.2.3") == 404
        assert await ask("10.1.2.3, 192.0.2.1") == 401, "what comes first may be invented"
        assert await ask("10.1.2.3", "192.0.2.1") == 401
        assert await ask("10.1.2.3, nonsense") == 401
        assert await ask() == 401


# A store that comes, goes, and forgets


async def test_keys_outlive_an_outage_of_the_store_but_not_its_loss(servers: Servers, stack: Stack) -> None:
    directory = servers.directory / "api-keys-lost"
    with Redis(directory / "redis") as redis:
        env = urls(servers) | {"REDIS_URL": redis.url}
        async with intakes(directory, env, ADMIN) as one:
            _, token = await make(one.api(ADMIN.token))
            api = one.api(token)
            assert await status(api) == 404
            redis.kill()
            assert await status(api) == 503, "it is let in; what it wants is away"
            assert await status(one.api(token[::-1])) == 401
            unknown = one.api(token.replace("_k", "_x"))
            assert await status(unknown) == 401
            redis.start()
            client = Client.from_url(redis.url)
            await client.flushall()
            await client.aclose()
            await eventually(answers(api, 401), "the store has lost it", 20)
            assert await status(one.api(ADMIN.token)) == 404, "that of the file stays"


async def test_until_the_store_was_asked_an_unknown_key_may_be_known(servers: Servers, stack: Stack) -> None:
    """503, not 401: a client must not take a restart for the end of its key."""
    env = urls(servers) | {"REDIS_URL": "redis://127.0.0.1:1"}
    async with intakes(servers.directory / "api-keys-early", env, ADMIN, wait=False) as early:
        other = new_key("other", "default", [Scope.ADMIN])
        begun = time.monotonic()
        answer = await early.api(other.token).http.get("/api/jobs/x")
        assert time.monotonic() - begun < 5
        assert "retry-after" in answer.headers
        check_problem(answer, 503)
        assert await status(early.api(None)) == 401
        assert await status(early.api("carom_other_short")) == 401
        assert (await early.api(ADMIN.token).http.get("/api/jobs/x")).status_code == 404
