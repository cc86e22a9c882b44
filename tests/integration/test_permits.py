"""What processes lend each other through the real Redis, whatever they ask in whatever order."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.conftest import Servers

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.control import ControlStore
from carom_common.adapters.store.tenants import Tenants
from carom_common.domain.pauses import Pause, Selector
from carom_common.domain.rules import Rule

pytestmark = pytest.mark.stack
NAMES = ("a", "b", "c")


@pytest.fixture
async def batcher(servers: Servers) -> AsyncIterator[Batcher]:
    batcher = Batcher(f"{servers.redis.url}/9")
    yield batcher
    await batcher.close()


Steps = list[tuple[str, int, int, bool]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 8),
    steps=st.lists(
        st.tuples(st.sampled_from(NAMES), st.integers(0, 8), st.integers(0, 10), st.booleans()), max_size=40
    ),
)
def test_no_more_permits_are_out_than_there_are(servers: Servers, limit: int, steps: Steps) -> None:
    async def run() -> None:
        batcher = Batcher(f"{servers.redis.url}/8")
        try:
            await batcher.run("FLUSHDB")
            stores = {name: ControlStore(batcher, name) for name in NAMES}
            out = dict.fromkeys(NAMES, 0)
            for name, used, wanted, waits in steps:
                in_use = min(used, out[name])
                got, _ = await stores[name].permits("h", in_use, max(wanted, in_use), limit, waits=waits)
                assert got >= in_use
                out[name] = got
                assert sum(out.values()) <= limit
        finally:
            await batcher.close()

    asyncio.run(run())


async def test_who_waits_longer_comes_first(batcher: Batcher) -> None:
    await batcher.run("FLUSHDB")
    first, second = ControlStore(batcher, "first"), ControlStore(batcher, "second")
    assert await first.permits("h", 1, 1, 1, waits=True) == (1, 0)
    assert await second.permits("h", 0, 1, 1, waits=True) == (0, 0)
    assert await first.permits("h", 1, 1, 1, waits=True) == (1, 1)  # and hears that somebody waits
    assert await first.permits("h", 0, 0, 1, waits=True) == (0, 1)
    assert await first.permits("h", 0, 1, 1, waits=True) == (0, 1)
    assert await second.permits("h", 0, 1, 1, waits=True) == (1, 1)


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
