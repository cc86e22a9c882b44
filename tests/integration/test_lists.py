"""Lists: through two replicas of intake, and straight against a real Redis where many records are needed."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator

import pytest
from tests.integration.conftest import Servers
from tests.support.client import Api, connected
from tests.support.records import Command, job, record
from tests.support.target import HANG, Target
from tests.support.waiting import eventually

from carom_common.adapters.store import index
from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.queries import MAX_READ, Queries
from carom_common.adapters.store.sweep import Sweep
from carom_common.adapters.store.tenants import TENANTS_KEY
from carom_common.contracts.job import Status
from carom_common.domain.clock import now_ms
from carom_common.domain.cursor import BadCursor
from carom_common.domain.filters import Filter
from devstack.services import Service, Stack

pytestmark = pytest.mark.stack
THEN = 1_700_000_000_000


@pytest.fixture
async def batcher(servers: Servers) -> AsyncIterator[Batcher]:
    batcher = Batcher(servers.redis.url)
    yield batcher
    await batcher.close()


@pytest.fixture
def tenant() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
async def second(stack: Stack) -> AsyncIterator[Api]:
    """Another replica of intake."""
    service: Service = stack.add("intake")
    service.start()
    client = Api(service.url)
    await connected(service)
    yield client
    await client.aclose()
    service.terminate()
    stack.services.remove(service)


async def put(batcher: Batcher, commands: list[Command]) -> None:
    for first in range(0, len(commands), 500):
        await asyncio.gather(*(batcher.run(*command) for command in commands[first : first + 500]))


async def all_ids(queries: Queries, tenant: str, wanted: Filter, limit: int = 100) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await queries.page(tenant, wanted, cursor, limit)
        assert len(page.jobs) <= limit
        found += [listed.job_id for listed in page.jobs]
        if (cursor := page.next_cursor) is None:
            return found


async def test_thousands_of_one_millisecond_are_told_once_and_in_order(batcher: Batcher, tenant: str) -> None:
    made: list[tuple[int, str]] = []
    commands: list[Command] = []
    for n in range(1500):
        job_id, some = record(tenant, THEN + n // 1000, job())
        made.append((THEN + n // 1000, job_id))
        commands += some
    await put(batcher, commands)
    expected = [job_id for _, job_id in sorted(made, reverse=True)]
    for limit in (37, 1000):
        assert await all_ids(Queries(batcher), tenant, Filter(), limit) == expected


async def test_a_list_goes_on_where_its_last_entry_has_left(batcher: Batcher, tenant: str) -> None:
    commands, ids = [], []
    for _ in range(50):
        job_id, some = record(tenant, THEN, job(), status="queued")
        ids.append(job_id)
        commands += some
    await put(batcher, commands)
    queries, wanted = Queries(batcher), Filter(status=(Status.QUEUED,))
    page = await queries.page(tenant, wanted, None, 20)
    seen = [listed.job_id for listed in page.jobs]
    for job_id in seen:
        await put(batcher, [*index.leaves(tenant, job_id, "open")])
    page = await queries.page(tenant, wanted, page.next_cursor, 100)
    assert seen + [listed.job_id for listed in page.jobs] == sorted(ids, reverse=True)
    assert page.next_cursor is None


async def test_nothing_is_missed_or_repeated_while_jobs_come_and_finish(batcher: Batcher, tenant: str) -> None:
    queries, rng = Queries(batcher), random.Random(7)
    lasting: list[str] = []
    commands: list[Command] = []
    for n in range(2000):
        job_id, some = record(tenant, THEN + n // 50, job(team="a"), status="failed" if n % 2 else "waiting")
        lasting.append(job_id)
        commands += some
    await put(batcher, commands)

    async def churn() -> None:
        """Jobs of all times that come, finish and go, in the midst of those that stay."""
        while True:
            created = THEN + rng.randrange(60)
            job_id, some = record(tenant, created, job(team="a"), status="waiting")
            await put(batcher, some)
            await put(batcher, [("HSET", f"carom:{{{job_id}}}:state", "status", "failed")])
            await put(batcher, [*index.leaves(tenant, job_id, "open")])
            await put(batcher, [*index.enters(tenant, job_id, created, "status:failed")])
            if rng.random() < 0.5:
                await put(batcher, [("DEL", f"carom:{{{job_id}}}:state", f"carom:{{{job_id}}}:log")])

    churning = [asyncio.create_task(churn()) for _ in range(3)]
    try:
        for wanted, due in (
            (Filter(), lasting),
            (Filter(labels={"team": "a"}), lasting),
            (Filter(status=(Status.FAILED,)), lasting[1::2]),
            (Filter(status=(Status.WAITING,)), lasting[::2]),
            (Filter(status=(Status.WAITING, Status.FAILED)), lasting),
        ):
            found = await all_ids(queries, tenant, wanted, 93)
            assert len(set(found)) == len(found)
            assert not set(due) - set(found)
    finally:
        for task in churning:
            task.cancel()


async def test_filters_choose_and_records_decide(batcher: Batcher, tenant: str) -> None:
    wanted_id, some = record(
        tenant, THEN + 5, job("b.example:8443", team="a"), status="failed", reason="dns", dead=True
    )
    commands = list(some)
    for n in range(20):
        commands += record(tenant, THEN + n, job(team="a"))[1]
        commands += record(tenant, THEN + n, job("b.example:8443"), status="failed", reason="timeout")[1]
    await put(batcher, commands)
    # What an index still says of a job that is gone, or that another tenant has, is not told.
    other_id, some = record("other", THEN, job())
    await put(batcher, some)
    for gone in (str(uuid.uuid4()), other_id):
        await put(
            batcher, [*index.enters(tenant, gone, THEN + 5, "all", "reason:dns", "status:failed", "dead:execute")]
        )
    queries = Queries(batcher)
    for wanted in (
        Filter(reason="dns"),
        Filter(kind="execute"),
        Filter(host="b.example:8443", labels={"team": "a"}),
        Filter(labels={"team": "a"}, status=(Status.FAILED, Status.EXPIRED)),
        Filter(status=(Status.FAILED,), created_after=THEN + 5, created_before=THEN + 6, reason="dns"),
    ):
        assert await all_ids(queries, tenant, wanted) == [wanted_id], wanted
    assert await all_ids(queries, tenant, Filter(labels={"team": "b"})) == []
    assert len(await all_ids(queries, tenant, Filter(created_before=THEN + 10), 3)) == 21


async def test_a_page_reads_so_much_and_goes_on(batcher: Batcher, tenant: str) -> None:
    """The smaller the page, the sooner it is there."""
    rare, some = record(tenant, THEN, job(), status="completed")
    commands = list(some)
    for n in range(MAX_READ + 100):
        commands += record(tenant, THEN + 1 + n, job(), status="queued")[1]
    await put(batcher, commands)
    queries, wanted = Queries(batcher), Filter(status=(Status.COMPLETED,))
    for limit, looks in ((10, 6), (100, 6), (300, 2), (1000, 2)):
        pages = [await queries.page(tenant, wanted, None, limit)]
        while (cursor := pages[-1].next_cursor) is not None:
            pages.append(await queries.page(tenant, wanted, cursor, limit))
        assert len(pages) == looks
        assert [listed.job_id for page in pages for listed in page.jobs] == [rare]
    first = await queries.page(tenant, wanted, None, 10)
    assert first.jobs == []
    with pytest.raises(BadCursor):
        await queries.page(tenant, Filter(), first.next_cursor, 10)


async def test_a_record_that_goes_between_two_looks_hides_no_other(batcher: Batcher, tenant: str) -> None:
    commands, ids = [], []
    for n in range(40):
        job_id, some = record(tenant, THEN + n, job())
        commands += some
        if n % 7 == 3:  # half gone: its state is there, the job is not
            commands.append(("DEL", f"carom:{{{job_id}}}:log"))
        else:
            ids.append(job_id)
    await put(batcher, commands)
    for wanted in (Filter(), Filter(status=(Status.COMPLETED,)), Filter(host="a.example")):
        for limit in (1, 5, 9):
            assert await all_ids(Queries(batcher), tenant, wanted, limit) == ids[::-1]


async def test_jobs_with_large_payloads_are_listed_too(batcher: Batcher, tenant: str) -> None:
    commands: list[Command] = []
    for n in range(60):
        commands += record(tenant, THEN + n, job(size=200_000))[1]
    await put(batcher, commands)
    assert len(await all_ids(Queries(batcher), tenant, Filter())) == 60


async def test_a_sweep_takes_out_what_is_gone_and_mends_what_is_behind(batcher: Batcher, tenant: str) -> None:
    await batcher.run("SADD", TENANTS_KEY, tenant)
    old, young = now_ms() - 3_600_000, now_ms()
    kept, some = record(tenant, old, job(team="a"))
    commands = list(some)
    for n in range(700):  # gone
        entries = record(tenant, old + n, job(team="a"))[1]
        commands += [command for command in entries if command[0] == "ZADD"]
    fresh = str(uuid.uuid4())
    commands += index.enters(tenant, fresh, young, "all", "open", "label:team=a")
    # Whoever settled this one died before it told the indexes.
    settled, some = record(tenant, old, job(), status="queued")
    commands += [*some, ("HSET", f"carom:{{{settled}}}:state", "status", "failed", "reason", "dns", "dead", "1")]
    await put(batcher, commands)
    sweep = Sweep(batcher)

    async def members(name: str) -> set[str]:
        return {member.decode() for member in await batcher.run("ZRANGE", index.index_key(tenant, name), 0, -1)}

    async def swept() -> bool:
        await sweep.run()
        return len(await members("label:team=a")) == 2

    await eventually(swept, "a swept index", 60)
    assert await members("label:team=a") == {kept, fresh}
    assert await members("all") == {kept, fresh, settled}
    assert await members("open") == {fresh}
    assert await members("status:failed") == await members("dead:execute") == await members("reason:dns") == {settled}
    await batcher.run("SREM", TENANTS_KEY, tenant)


async def test_both_replicas_list_the_same_and_finished_jobs_move(api: Api, second: Api, target: Target) -> None:
    batch = f"b{uuid.uuid4().hex[:10]}"
    url = target.endpoint().url
    ids = [await (api, second)[n % 2].submit(url, labels={"batch": batch}) for n in range(6)]
    later = await api.submit(url, labels={"batch": batch}, delay=600_000, priority="high", payload={"secret": 1})
    for job_id in ids:
        await api.wait_for_status(job_id, "completed")

    async def listed(client: Api, query: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        cursor = ""
        while True:
            answer = await client.http.get(f"/api/jobs?label=batch={batch}&limit=2{query}{cursor}")
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["jobs"]
            if page["nextCursor"] is None:
                return found
            cursor = f"&cursor={page['nextCursor']}"

    for client in (api, second):
        shown = await listed(client, "")
        assert {entry["jobId"] for entry in shown} == {*ids, later}
        assert [entry["createdAt"] for entry in shown] == sorted((str(e["createdAt"]) for e in shown), reverse=True)
        (waiting,) = await listed(client, "&status=scheduled,queued")
        assert waiting["jobId"] == later
        assert waiting["priority"] == "high"
        assert waiting["nextAttemptAt"] is not None
        assert "secret" not in str(shown)
        assert len(await listed(client, "&status=completed")) == 6
        assert await listed(client, "&createdBefore=2020-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("status=done", "known are queued"),
        ("colour=red", "known are status"),
        ("reason=x", "known are http-4xx"),
        ("limit=1001", "1 to 1000"),
        ("createdAfter=now", "RFC 3339"),
        ("cursor=x", "nextCursor"),
        ("host=a%20b", "host:port"),
    ],
)
async def test_a_bad_query_is_a_400_that_says_what_is_known(api: Api, query: str, names: str) -> None:
    answer = await api.http.get(f"/api/jobs?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert names in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == f"?{query.partition('=')[0]}"


async def test_the_allowed_methods_of_a_shared_path_are_all_named(api: Api) -> None:
    answer = await api.http.put("/api/jobs")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_stats_are_of_all_replicas(api: Api, second: Api, target: Target) -> None:
    url = target.endpoint().url

    async def window(client: Api) -> dict[str, int]:
        answer = await client.http.get("/api/stats")
        assert answer.status_code == 200, answer.text
        found: dict[str, int] = answer.json()["windows"]["15m"]
        return found

    before = await window(api)
    ids = [await client.submit(url) for client in (api, second) for _ in range(5)]
    for job_id in ids:
        await api.wait_for_status(job_id, "completed")

    async def counted() -> bool:
        after = await window(second)
        return all(after[name] >= before[name] + 10 for name in ("accepted", "completed", "attempts"))

    await eventually(counted, "counts of both replicas", 15)
    document = (await api.http.get("/api/stats")).json()
    assert document["windows"]["1m"]["latencyMs"]["p50"] is not None
    assert document["windows"]["1m"]["ratePerSecond"]["accepted"] > 0
    assert document["depth"]["kept"] >= 10
    assert (await api.http.get("/api/stats?window=1m")).status_code == 400


async def test_stats_show_what_runs(api: Api, target: Target) -> None:
    endpoint = target.endpoint(HANG)
    job_id = await api.submit(endpoint.url, timeout=20_000, maxRetries=0)

    async def running() -> bool:
        return bool((await api.http.get("/api/stats")).json()["running"] >= 1)

    await eventually(running, "a running call", 15)
    endpoint.release()
    await api.wait_for_status(job_id)
