"""Targets and receivers that mean ill, are broken, or dead: their jobs end as they should, and others do not notice."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from bench.report import percentile
from tests.chaos.errands import Errand, Errands
from tests.chaos.recovery import latencies
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.hostile import Hostile, Way
from tests.support.load import Load

log = logging.getLogger(__name__)

GROUP = "peers"

TIMEOUT_MS = 2000
ONCE_MORE: dict[str, Any] = {"maxRetries": 1, "retryDelay": 100}
FIXED = {"strategy": "fixed"}
ROOM_MB = 80
"""What a process may grow by while the worst of answers come in: some hundred calls, each with its buffers."""

DEAD_HOSTS_SHORT, DEAD_HOSTS_LONG = 1000, 10_000
DEAD_TIMEOUT_MS = 1000
DEAD_A_SECOND = 400
NORMAL_SECONDS, SETTLED_SECONDS = 4.0, 1.0
SLOWER, HEALTHY_WITHIN, HEALTHY_WITHIN_SHORT = 2.0, 0.5, 1.0
"""For 99 of 100 jobs of a healthy host beside thousands of dead ones: times what they take alone from request to call,
or so many seconds where that is more: the load, its targets and the dead hosts share two cores with all the rest, and
in the short version with another lane of tests."""


def hostile(stage: Stage, rng: Random, seconds: float) -> None:
    """Each way of being hostile as a target and as a receiver, many at once."""
    with _steady_memory(stage):
        end = time.monotonic() + seconds
        while True:
            with Hostile(stage.thread) as them:  # others each time: circuits open for hosts that fail ten times
                _meet(stage, rng, them)
            if time.monotonic() > end:
                break


def _meet(stage: Stage, rng: Random, them: Hostile) -> None:
    all_of_them = [errand for way in them.ways for errand in _both(stage, them, way)]
    full = them.full()
    all_of_them += [
        Errand("a full queue of connections: target", _target(stage, full), "failed", 2, "delivered"),
        Errand("a full queue of connections: receiver", _receiver(stage, full), "completed", 1, "failed"),
    ]
    rng.shuffle(all_of_them)
    errands = Errands(stage)
    errands.submit(all_of_them)
    errands.judge(40)
    assert (unmet := [name for name, met in them.met.items() if not met]) == [], f"nobody met {unmet}"


def _both(stage: Stage, them: Hostile, way: Way) -> list[Errand]:
    url = them.url(way)
    status, attempts = {"taken": ("completed", 1), "failed": ("failed", 2), "refused": ("failed", 1)}[way.end]
    target = _target(stage, url) | ({"followRedirects": True} if way.redirects else {})
    # Redirects of receivers are not followed: an answer that is not 2xx, like others.
    taken = way.end == "taken"
    return [
        Errand(f"{way.name}: target", target, status, attempts, "delivered"),
        Errand(f"{way.name}: receiver", _receiver(stage, url), "completed", 1, "delivered" if taken else "failed"),
    ]


def _target(stage: Stage, url: str) -> dict[str, Any]:
    return {
        "targetUrl": url,
        "callbackUrl": stage.witness.receiver(),
        "timeout": TIMEOUT_MS,
        "retry": FIXED,
    } | ONCE_MORE


def _receiver(stage: Stage, url: str) -> dict[str, Any]:
    callback = {"url": url, "timeout": TIMEOUT_MS, "retry": ONCE_MORE | FIXED}
    return {"targetUrl": stage.witness.target("200:20"), "method": "POST", "callback": callback}


@contextmanager
def _steady_memory(stage: Stage) -> Iterator[None]:
    """No executor or callback grows by more than its room, not even for a moment; nor is one replaced."""
    watched = [service for service in stage.services if service.kind in ("executor", "callback")]
    pids = {service.name: service.pid for service in watched}
    before = {service.name: _memory_mb(service.pid, "VmRSS") for service in watched}
    for service in watched:
        Path(f"/proc/{service.pid}/clear_refs").write_text("5")  # the peak begins anew (proc(5))
    yield
    assert {service.name: service.pid for service in watched} == pids, "a service was replaced"
    grown = {service.name: _memory_mb(service.pid, "VmHWM") - before[service.name] for service in watched}
    assert max(grown.values()) < ROOM_MB, f"grown by so many MB: {grown}"


def _memory_mb(pid: int | None, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{what}:"))


def dead_hosts(stage: Stage, _rng: Random, seconds: float) -> None:
    """Thousands of hosts that take connections and say nothing, among those that the load is for."""
    count = DEAD_HOSTS_SHORT if seconds < 30 else DEAD_HOSTS_LONG
    [load] = stage.loads
    time.sleep(NORMAL_SECONDS)
    alone, began = _p99(load, time.monotonic() - NORMAL_SECONDS), time.monotonic()
    with _dead(stage) as port:
        errands = Errands(stage)
        body = {"callbackUrl": None, "timeout": DEAD_TIMEOUT_MS, "maxRetries": 0}
        for first in range(0, count, DEAD_A_SECOND):
            start = time.monotonic()
            numbers = range(first, min(first + DEAD_A_SECOND, count))
            errands.submit_together(
                [Errand("dead", body | {"targetUrl": _dead_url(n, port)}, "failed", 1) for n in numbers]
            )
            time.sleep(max(0.0, start + 1 - time.monotonic()))
        # A quarter of the slots of two executors is what hosts get that fail.
        errands.judge(60 + count * DEAD_TIMEOUT_MS / 1000 / 100)
    beside = _p99(load, began)
    log.warning("of healthy hosts 99 of 100 were called within %.3f s, alone within %.3f", beside, alone)
    within = HEALTHY_WITHIN if count == DEAD_HOSTS_LONG else HEALTHY_WITHIN_SHORT
    assert beside < max(SLOWER * min(alone, within), within), (
        f"99 of 100 jobs of healthy hosts were called within {beside:.2f} s, alone within {alone:.2f} s"
    )


def _p99(load: Load, since: float) -> float:
    """Of what was submitted since then, and had time to be called."""
    until = time.monotonic() - SETTLED_SECONDS
    return percentile(latencies([s for s in load.submissions if since <= s.at < until], load.witness), 99) or 0.0


def _dead_url(number: int, port: int) -> str:
    return f"http://127.{70 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}:{port}/"


@contextmanager
def _dead(stage: Stage) -> Iterator[int]:
    """A port at which every address of 127.0.0.0/8 takes connections and never says a word."""

    async def listen() -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(asyncio.Protocol, "0.0.0.0", 0, backlog=4096)

    async def close(server: asyncio.Server) -> None:
        server.close()

    server = stage.thread.run(listen())
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        stage.thread.run(close(server))


SCENARIOS = [
    Scenario(GROUP, "hostile", hostile, 0, 120, rate=30, causes=frozenset()),
    Scenario(GROUP, "dead-hosts", dead_hosts, 0, 60, rate=30, causes=frozenset()),
]
