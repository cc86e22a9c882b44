"""What processes lend each other through the real Redis, whatever they ask in whatever order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.conftest import Servers
from tests.support.waiting import eventually

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.control import PERMIT_LEASE_MS, ControlStore
from carom_common.adapters.store.tenants import Tenants
from carom_common.domain.pauses import Pause, Selector
from carom_common.domain.rules import Limits, Rule
from carom_common.hosts import Host
from carom_common.lending import RENEW_SECONDS, Lender

pytestmark = pytest.mark.stack
NAMES = ("a", "b", "c")


@pytest.fixture
async def batcher(servers: Servers) -> AsyncIterator[Batcher]:
    batcher = Batcher(f"{servers.redis.url}/9")
    yield batcher
    await batcher.close()


Steps = list[tuple[str, int, int, bool]]
Stores = Mapping[str, ControlStore]


async def _played(servers: Servers, play: Callable[[Stores], Awaitable[None]]) -> None:
    """With a store of nothing, which each process of NAMES asks."""
    batcher = Batcher(f"{servers.redis.url}/8")
    try:
        await batcher.run("FLUSHDB")
        await play({name: ControlStore(batcher, name) for name in NAMES})
    finally:
        await batcher.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 8),
    steps=st.lists(
        st.tuples(st.sampled_from(NAMES), st.integers(0, 8), st.integers(0, 10), st.booleans()), max_size=40
    ),
)
def test_no_more_permits_are_out_than_there_are(servers: Servers, limit: int, steps: Steps) -> None:
    async def play(stores: Stores) -> None:
        out = dict.fromkeys(NAMES, 0)
        for name, used, wanted, waits in steps:
            in_use = min(used, out[name])
            got, _ = await stores[name].permits("h", in_use, max(wanted, in_use), limit, waits=waits)
            assert got >= in_use
            out[name] = got
            assert sum(out.values()) <= limit

    asyncio.run(_played(servers, play))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(NAMES), st.integers(0, 8), st.integers(0, 10), st.booleans(), st.integers(1, 8)),
        max_size=40,
    )
)
def test_a_limit_that_changes_takes_no_call_away_and_lets_none_begin_beyond_it(
    servers: Servers, steps: list[tuple[str, int, int, bool, int]]
) -> None:
    async def play(stores: Stores) -> None:
        out = dict.fromkeys(NAMES, 0)
        for name, used, wanted, waits, limit in steps:
            in_use = min(used, out[name])
            others = sum(out.values()) - out[name]
            got, _ = await stores[name].permits("h", in_use, max(wanted, in_use), limit, waits=waits)
            assert got <= max(0, limit - others)
            out[name] = max(got, in_use)
            assert (await stores[name].live("h")).permits == sum(out.values())

    asyncio.run(_played(servers, play))


async def test_who_waits_longer_comes_first(batcher: Batcher) -> None:
    await batcher.run("FLUSHDB")
    first, second = ControlStore(batcher, "first"), ControlStore(batcher, "second")
    assert await first.permits("h", 1, 1, 1, waits=True) == (1, 0)
    assert await second.permits("h", 0, 1, 1, waits=True) == (0, 0)
    assert await first.permits("h", 1, 1, 1, waits=True) == (1, 1)  # and hears that somebody waits
    assert await first.permits("h", 0, 0, 1, waits=True) == (0, 1)
    assert await first.permits("h", 0, 1, 1, waits=True) == (0, 1)
    assert await second.permits("h", 0, 1, 1, waits=True) == (1, 1)


async def test_permits_of_many_hosts_are_not_renewed_all_at_once(batcher: Batcher) -> None:
    await batcher.run("FLUSHDB")
    lender: Lender[None] = Lender(ControlStore(batcher, "a"), lambda host: None)
    hosts = [Host[None](f"h{number}", Limits(concurrency=50)) for number in range(60)]
    for host in hosts:
        host.running = 1
        lender.ask(host, "concurrency")
    await _answered(hosts)
    now, renewed = asyncio.get_running_loop().time(), list[int]()
    for tick in range(31):
        lender.renew(now + tick / 10)
        renewed.append(sum(host.asking for host in hosts))
        await _answered(hosts)
    assert sum(renewed) == len(hosts), "each of them once in 3 s"
    assert max(renewed) < len(hosts) / 2
    await lender.close()


async def test_where_a_limit_was_lowered_no_call_begins_until_fewer_run(batcher: Batcher) -> None:
    store, lender, host = await _lowered(batcher)
    now = asyncio.get_running_loop().time()
    lender.renew(now + RENEW_SECONDS)
    await _answered([host])
    assert (host.allowed(now), (await store.live("h")).permits) == (3, 10), "all that run are counted"
    host.running = 2
    lender.give_back(host)
    await _answered([host])
    assert (host.allowed(now), (await store.live("h")).permits) == (3, 3)
    await lender.close()


async def test_calls_that_end_while_the_store_answers_are_told_next(batcher: Batcher) -> None:
    """Or others wait for a second longer for what a lowered limit has left them."""
    store, lender, host = await _lowered(batcher)
    now = host.renewed_at = asyncio.get_running_loop().time()
    lender.give_back(host)
    await asyncio.sleep(0)
    host.running = 2
    await _answered([host])
    assert (await store.live("h")).permits == 10
    lender.renew(now)
    await _answered([host])
    assert (await store.live("h")).permits == 3
    await lender.close()


async def test_the_little_that_a_host_had_is_not_given_back_but_runs_out(batcher: Batcher) -> None:
    await batcher.run("FLUSHDB")
    store = ControlStore(batcher, "a")
    lender: Lender[None] = Lender(store, lambda host: None)
    little, much = Host[None]("little", Limits(concurrency=50)), Host[None]("much", Limits(concurrency=2))
    for host in (little, much):
        host.running = 1
        lender.ask(host, "concurrency")
    await _answered([little, much])
    little.running = much.running = 0
    now = asyncio.get_running_loop().time()
    lender.renew(now)
    assert (little.asking, much.asking) == (False, True), "others may miss the only one of two"
    await _answered([much])
    assert ((await store.live("little")).permits, (await store.live("much")).permits) == (1, 0)
    lender.renew(now + PERMIT_LEASE_MS / 1000 - RENEW_SECONDS)
    assert (little.asking, little.granted, little.idle) == (False, 0, True)
    await lender.close()


async def _lowered(batcher: Batcher) -> tuple[ControlStore, Lender[None], Host[None]]:
    """A host of which ten calls run, and that may now have three."""
    await batcher.run("FLUSHDB")
    store = ControlStore(batcher, "a")
    lender: Lender[None] = Lender(store, lambda host: None)
    host = Host[None]("h", Limits(concurrency=10))
    host.running = 10
    lender.ask(host, "concurrency")
    await _answered([host])
    host.limits = Limits(concurrency=3)
    return store, lender, host


async def _answered(hosts: list[Host[None]]) -> None:
    await eventually(lambda: not any(host.asking for host in hosts), "an answer of the store", interval=0.001)


async def test_a_bucket_gives_no_more_than_its_rate(batcher: Batcher) -> None:
    await batcher.run("FLUSHDB")
    store = ControlStore(batcher, "a")
    assert (await store.tokens("h", 10, 3, 5))[0] == 3
    taken, wait = await store.tokens("h", 10, 3, 5)
    assert taken == 0
    assert 1 <= wait <= 100
    await asyncio.sleep(0.25)
    assert (await store.tokens("h", 10, 3, 5))[0] >= 2


async def test_one_of_many_probes(batcher: Batcher) -> None:
    await batcher.run("FLUSHDB")
    first, second = ControlStore(batcher, "first"), ControlStore(batcher, "second")
    await first.open("h")
    assert not await first.probe("h", 30)  # it is open still
    assert await first.probe("h", 0)
    assert not await second.probe("h", 0)
    await first.give_back_probe("h")
    assert await second.probe("h", 0)
    assert [host for host, _ in (await first.look("", 0)).opened] == ["h"]
    await second.close("h")
    found = await first.look("", 0)
    assert found.opened == []
    assert [host for host, _ in found.closed] == ["h"]


async def test_a_look_tells_what_is_new(batcher: Batcher) -> None:
    await batcher.run("FLUSHDB")
    store = ControlStore(batcher, "a")
    await store.pause(Pause("t", Selector(), 1))
    await store.set_rule("h", Rule(concurrency=3))
    found = await store.look("none", 0, ("healthy",))
    assert found.pauses == [Pause("t", Selector(), 1)]
    assert found.rules == {"h": Rule(concurrency=3)}
    assert [host for host, _ in found.proven] == ["healthy"]
    again = await store.look(found.version, found.now)
    assert (again.pauses, again.rules) == (None, None)
    await store.resume(Pause("t", Selector(), 1).id)
    assert (await store.look(found.version, found.now)).pauses == []
    await batcher.run("FLUSHDB")  # a loss of data is a change too
    assert (await store.look(found.version, found.now)).rules == {}


async def test_default_is_a_tenant_like_any_other_once_there_is_one(batcher: Batcher) -> None:
    await batcher.run("FLUSHDB")
    tenants = Tenants(batcher)
    assert await tenants.known() == ["default"]
    tenants.note("shop")
    assert await tenants.known() == ["shop"], "a pause of all that there are stops the consumers"
    tenants.note("default")
    assert await tenants.known() == ["default", "shop"]
