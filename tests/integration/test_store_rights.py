"""The users of k8s/redis: each service does its part with its own, and cannot do another's."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import NoPermissionError
from tests.integration.conftest import ENV, Servers
from tests.support import acl
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from devstack.servers import Redis
from devstack.services import KINDS, Stack

pytestmark = pytest.mark.stack

FAST = {"retryDelay": 100, "retry": {"strategy": "fixed"}}
JOB = f"carom:{{{uuid.uuid4()}}}:state"


@pytest.fixture(scope="module")
def store(servers: Servers) -> Iterator[Redis]:
    file = servers.directory / "users.acl"
    file.write_text(acl.aclfile())
    with Redis(servers.directory / "redis-with-users", settings={"aclfile": str(file)}) as store:
        yield store


@pytest.fixture(scope="module")
def url(store: Redis) -> Callable[[str], str]:
    return lambda user: acl.url(store.url, user)


@pytest.fixture(scope="module")
def own_logs(servers: Servers) -> Logs:
    return Logs(servers.directory / "store-rights")


@pytest.fixture(scope="module")
def own_stack(url: Callable[[str], str], servers: Servers, own_logs: Logs) -> Iterator[Stack]:
    """A virtual host of its own, so that the services of other tests take none of its jobs."""
    servers.rabbitmq.ctl("add_vhost", "store-rights")
    servers.rabbitmq.ctl("set_permissions", "--vhost", "store-rights", "guest", ".*", ".*", ".*")
    with Stack(
        servers.rabbitmq.url + "store-rights",
        "redis://nobody",
        log=own_logs.directory,
        env=ENV,
        service_env={kind: {"REDIS_URL": url(f"carom-{kind}")} for kind in KINDS},
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
async def refusals(own_stack: Stack, store: Redis, own_logs: Logs) -> AsyncIterator[Callable[[], Any]]:
    """What Redis refused since the last question, as `user: object`; what the tests themselves ask does not count."""
    async with redis.asyncio.Redis.from_url(store.url, decode_responses=True) as client:

        async def since() -> list[str]:
            entries = await client.acl_log()
            await client.acl_log_reset()
            return [f"{entry['username']}: {entry['context']} {entry['object']}" for entry in entries]

        yield since


# What they can


async def test_jobs_go_through_with_all_that_happens_to_them(
    own_api: Api, target: Target, refusals: Callable[[], Any], own_logs: Logs
) -> None:
    """Retries, waits, dead letters, idempotency, events, batches, bulk acts, pauses, rules, lists, figures, sweeps."""
    http = own_api.http
    endpoint, receiver = target.endpoint(respond(503), respond(200)), target.endpoint(respond(500), respond(200))
    body = {"targetUrl": endpoint.url, "callbackUrl": receiver.url, **FAST}
    waited = await own_api.post(body, {"Prefer": "wait=20", "Idempotency-Key": "once"})
    assert (waited.status_code, waited.json()["status"]) == (200, "completed")
    assert (await own_api.wait_for_callback(waited.json()["jobId"]))["callback"]["status"] == "delivered"
    assert (await own_api.post(body, {"Idempotency-Key": "once"})).status_code in (200, 202)

    host = endpoint.url.removeprefix("http://").split("/")[0]
    rule = {"concurrency": 1, "rate": {"perSecond": 20}}
    assert (await http.put(f"/api/destinations/{host}", json=rule)).is_success
    dead = await own_api.submit(target.endpoint(respond(500)).url, target.endpoint(respond(500)).url, maxRetries=0)
    many = {"jobs": [{"targetUrl": target.endpoint().url, "callbackUrl": None} for _ in range(5)]}
    assert (await http.post("/api/jobs/batch", json=many)).is_success
    assert (await own_api.wait_for_callback(dead, "failed"))["status"] == "failed"
    redriven = await http.post(f"/api/dead-letters/{dead}/redrive?kind=execute")
    assert redriven.is_success, redriven.text
    later = await own_api.submit(endpoint.url, None, runAt=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    assert (await http.delete(f"/api/jobs/{later}")).is_success
    await eventually(lambda: known_as_failed(own_api, dead), "the redriven job has failed again")
    assert (await http.delete(f"/api/dead-letters/{dead}?kind=execute")).is_success
    for path in ("/api/jobs", "/api/stats", "/api/dead-letters", "/api/destinations", f"/api/jobs/{dead}/attempts"):
        assert (await http.get(path)).status_code == 200, path
    for path in ("/api/pause", "/api/resume"):
        assert (await http.post(path, json={"host": "paused.example"})).is_success, path
    for path in ("/api/jobs/cancel", "/api/dead-letters/redrive"):
        assert (await http.post(path, json={"createdAfter": "2020-01-01T00:00:00Z"})).is_success, path
    made = await http.post("/api/keys", json={"id": "made", "scopes": ["jobs:read"]})
    assert made.status_code < 500, made.text
    assert (await http.delete(f"/api/destinations/{host}")).is_success

    await asyncio.sleep(3)  # duties, sweeps and what runs once a second
    assert await refusals() == []
    assert own_logs.events(event="store_refused") == []


async def known_as_failed(api: Api, job_id: str) -> bool:
    document = await api.typed(job_id)
    return bool(
        document["status"] == "failed" and document["generation"] > 1 and document["callback"]["status"] == "failed"
    )


# What they cannot

Command = tuple[str, ...]
ANYBODY: dict[str, Command] = {
    "delete everything": ("FLUSHALL",),
    "configure": ("CONFIG", "GET", "*"),
    "see users": ("ACL", "LIST"),
    "list keys": ("KEYS", "*"),
    "watch others": ("MONITOR",),
    "copy data away": ("DUMP", JOB),
    "move data": ("MIGRATE", "127.0.0.1", "1", JOB, "0", "1"),
    "make a replica": ("REPLICAOF", "127.0.0.1", "1"),
    "load code": ("MODULE", "LIST"),
    "load functions": ("FUNCTION", "LIST"),
    "end others": ("CLIENT", "KILL", "ID", "1"),
    "use keys that are not Carom's": ("SET", "other", "1"),
    "publish": ("PUBLISH", "carom", "1"),
    "a script that flushes": ("EVAL", "return redis.call('FLUSHALL')", "0"),
}
CONSUMER: dict[str, Command] = {
    "read API keys": ("HGETALL", "carom:{keys}:entries"),
    "make API keys": ("HSET", "carom:{keys}:entries", "id", "{}"),
    "read API keys by a script": ("EVALSHA", "0" * 40, "1", "carom:{keys}:entries"),
    "use up callers' rates": ("SET", "carom:{rate:key}:tokens", "1"),
    "read idempotency keys": ("HGETALL", "carom:{idem:default:00}"),
    "read the audit trail": ("LRANGE", "carom:audit:default", "0", "-1"),
    "change the audit trail": ("XADD", "carom:audit:default", "*", "a", "b"),
    "read events": ("XREAD", "STREAMS", "carom:events:default", "0"),
    "make bulk acts": ("HSET", "carom:campaign:1", "act", "cancel"),
    "walk through the keys": ("SCAN", "0"),
    "take over duties": ("SET", "carom:duty:sweep", "me"),
}
REFUSED: dict[str, dict[str, Command]] = {
    "carom-intake": ANYBODY,
    "carom-executor": ANYBODY | CONSUMER,
    "carom-callback": ANYBODY | CONSUMER | {"take permits": ("HSET", "carom:{dest:example.com:443}:permits", "a", "b")},
}


@pytest.mark.parametrize(
    ("user", "command"),
    [pytest.param(user, cmd, id=f"{user}: {what}") for user, acts in REFUSED.items() for what, cmd in acts.items()],
)
async def test_no_user_can_do_what_is_not_its_part(url: Callable[[str], str], user: str, command: Command) -> None:
    async with redis.asyncio.Redis.from_url(url(user)) as client:
        with pytest.raises(NoPermissionError):
            await client.execute_command(*command)  # type: ignore[no-untyped-call]


async def test_a_script_has_no_more_rights_than_its_user(url: Callable[[str], str]) -> None:
    """Scripts are loaded by the services: one that names a key it was not given is refused inside, too."""
    async with redis.asyncio.Redis.from_url(url("carom-executor")) as client:
        sha = await client.script_load("return redis.call('HGETALL', 'carom:{' .. 'keys}:entries')")
        with pytest.raises(redis.ResponseError, match="user executing the script"):
            await client.evalsha(sha, 0)


async def test_a_user_that_lacks_a_right_is_told_so(store: Redis, servers: Servers, tmp_path: Any) -> None:
    """Not ready to take jobs, and the line of Redis that names what is missing."""
    async with redis.asyncio.Redis.from_url(store.url) as client:
        await client.acl_setuser(
            "poor", enabled=True, passwords=["+poor"], keys=["carom:*"], commands=["-@all", "+hello", "+client"]
        )
    url = store.url.replace("//", "//poor:poor@")
    logs = Logs(tmp_path)
    with Stack(
        servers.rabbitmq.url + "store-rights", url, log=tmp_path, env=ENV, replicas={"executor": 0, "callback": 0}
    ):
        assert "permissions to run the 'set' command" in (await logs.wait_for(event="store_away"))[0]["reason"]
