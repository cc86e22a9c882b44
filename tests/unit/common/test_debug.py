"""Who may see what a process does, and how much of it is told."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from carom_common import debug
from carom_common.admin import Health, admin_app
from carom_common.debug import Debug, plain_settings, stack_of
from carom_common.settings import Settings

SECRETS = {
    "RABBITMQ_URL": "amqp://u:hunter2@h",
    "REDIS_URL": "redis://:hunter2@h",
    "CAROM_DESTINATIONS": '{"hunter2.example": {}}',
}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def told() -> Debug:
    return Debug("executor", "p-1", Settings(), Health({}, frozenset()), {})


async def status(client: str, url: str, **headers: str) -> int:
    transport = httpx.ASGITransport(admin_app(Health({}, frozenset()), told().report), client=(client, 5))
    async with httpx.AsyncClient(transport=transport) as admin_port:
        answer = await admin_port.get(f"{url}/debug/tasks", headers=headers)
    assert ("tasks" in answer.text and "hunter2" not in answer.text) or answer.status_code != 200
    return answer.status_code


@pytest.mark.parametrize(
    ("client", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8081"),
        ("::1", "http://[::1]:8081"),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]:8081"),
    ],
)
async def test_what_runs_in_the_pod_sees_it(client: str, url: str) -> None:
    assert await status(client, url) == 200
    assert await status(client, url, Host="localhost:8081") == 200


@pytest.mark.parametrize(
    ("client", "url", "headers"),
    [
        ("10.1.2.3", "http://10.1.2.4:8081", {}),
        ("10.1.2.3", "http://10.1.2.4:8081", {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"}),
        ("10.1.2.3", "http://127.0.0.1:8081", {}),
        ("127.0.0.6", "http://10.1.2.4:8081", {"Host": "localhost"}),  # handed on by a sidecar
        ("127.0.0.1", "http://127.0.0.1:8081", {"X-Forwarded-Proto": "http"}),
        ("127.0.0.1", "http://127.0.0.1:8081", {"X-Envoy-Attempt-Count": "1"}),
        ("127.0.0.1", "http://127.0.0.1:8081", {"Host": "rebound.example:8081"}),
        ("", "http://127.0.0.1:8081", {}),
    ],
)
async def test_nobody_else_does(client: str, url: str, headers: dict[str, str]) -> None:
    assert await status(client, url, **headers) == 403


async def _inner(go: asyncio.Event) -> None:
    await go.wait()


async def _outer(go: asyncio.Event) -> None:
    await _inner(go)


async def test_a_task_stands_where_its_innermost_coroutine_does() -> None:
    go = asyncio.Event()
    task = asyncio.create_task(_outer(go))
    await asyncio.sleep(0)
    outer, inner, *rest = stack_of(task)
    assert outer.startswith(f"{__name__}:")
    assert outer.endswith(" _outer")
    assert inner.endswith(" _inner")
    assert rest[-1].startswith("asyncio.locks:")
    go.set()
    await task


async def _numbers() -> AsyncIterator[int]:
    await asyncio.sleep(60)
    yield 1


async def test_a_task_in_a_generator_and_one_that_is_deep_have_a_stack() -> None:
    async def deep(left: int) -> None:
        await (deep(left - 1) if left else asyncio.sleep(60))

    async def consume() -> None:
        async for _ in _numbers():
            pass

    tasks = [asyncio.create_task(step) for step in (consume(), deep(50))]
    await asyncio.sleep(0)
    assert stack_of(tasks[0])[0].endswith(" consume")
    assert len(stack_of(tasks[1])) == debug.MAX_DEPTH
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_there_is_an_end_to_what_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug, "MAX_TASKS", 5)
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(20)]
    report = await told().report()
    assert len(report["tasks"]) == 5
    assert report["tasksTotal"] >= 21
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_loop_that_is_held_up_is_told() -> None:
    asyncio.get_running_loop().call_later(0.02, time.sleep, 0.2)
    assert (await told().report())["loopLagMs"] > 100


def test_settings_are_told_without_what_somebody_wrote() -> None:
    settings = Settings(log_level="debug")
    assert "hunter2" in settings.redis_url.get_secret_value()
    assert "hunter2" in settings.destinations
    found = plain_settings(settings)
    assert found["log_level"] == "debug"
    assert found["retention"] == 86_400
    assert found["declare_topology"] is True
    assert not {"rabbitmq_url", "redis_url", "destinations", "encryption_keys", "host"} & found.keys()
