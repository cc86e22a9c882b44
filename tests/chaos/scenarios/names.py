"""The name server is slow, answers nothing, fails, or says something else than before. Needs root."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from random import Random
from typing import cast

from tests.chaos.errands import Errand, Errands
from tests.chaos.far import ELSEWHERE, NEAR, OF_THE_TARGET, FarStage
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.names import Mood, Names

from devstack.namespaces import obstacle

GROUP = "names"

SLOW_NAMES, GOOD_NAMES = 60, 20
SLOW_DOMAIN = "slow.test"
ANSWER_SECONDS = 1.0


@contextlib.contextmanager
def names_of(stage: Stage) -> Iterator[tuple[FarStage, Names]]:
    """The names, which are in good order afterwards."""
    far = cast(FarStage, stage)
    assert far.name_server is not None
    names = far.name_server.names
    try:
        yield far, names
    finally:
        names.mood, names.delay, names.slow_names = "answers", 0.0, ()


def unanswered(stage: Stage, _rng: Random, seconds: float) -> None:
    """Many hosts about whose names nobody ever answers: new hosts whose names are answered are called all the same."""
    with names_of(stage) as (far, names), far.fault("slow names"):
        names.slow_names = (SLOW_DOMAIN,)
        port = far.links["target", "executor"].port
        end = time.monotonic() + seconds
        for turn in itertools.count():
            errands = Errands(far)
            slow = [f"x{turn}-{n}.{SLOW_DOMAIN}" for n in range(SLOW_NAMES)]
            errands.submit([_to(f"http://{name}/", 1000, "failed") for name in slow])
            good = [f"x{turn}-{n}.{OF_THE_TARGET}" for n in range(GOOD_NAMES)]
            errands.submit([_to(f"http://{name}:{port}/attempt/200:20", 4000, "completed") for name in good])
            errands.judge(30)
            assert names.asked.keys() & set(slow), "nobody asked for the slow names"
            if time.monotonic() > end:
                return


def _to(url: str, timeout: int, status: str) -> Errand:
    body = {"targetUrl": url, "callbackUrl": None, "timeout": timeout, "maxRetries": 0}
    return Errand(url, body, status, 1)


def failing(stage: Stage, rng: Random, seconds: float) -> None:
    """Server failures and silence while connections to broker and store break: all are made anew when it answers."""
    moods: list[Mood] = ["fails", "silent"]
    rng.shuffle(moods)
    for mood in moods:
        with names_of(stage) as (far, names), far.fault("failing names"):
            names.mood = mood
            _cut(far)
            time.sleep(seconds / len(moods))
        far.await_ready()


def slow(stage: Stage, _rng: Random, seconds: float) -> None:
    """Every answer takes a second, while connections to broker and store break again and again."""
    end = time.monotonic() + seconds
    with names_of(stage) as (far, names), far.fault("slow names"):
        names.delay = ANSWER_SECONDS
        while True:
            _cut(far)
            time.sleep(3 * ANSWER_SECONDS)
            far.await_ready()
            if time.monotonic() > end:
                break


def _cut(far: FarStage) -> None:
    cut = sum(link.cut() for link in far.between("broker", "store"))
    assert cut, "there was no connection that could be cut"


def moved(stage: Stage, _rng: Random, seconds: float) -> None:
    """Broker and store are somewhere else from now on; the old address answers nobody."""
    with names_of(stage) as (far, _), far.fault("other addresses"):
        servers = far.between("broker", "store")
        opened = {link: link.opened for link in servers}
        end = time.monotonic() + seconds
        there = ELSEWHERE if servers[0].host == NEAR else NEAR
        while True:
            for link in servers:
                link.move(there)
            far.tell_names()
            time.sleep(3)
            far.await_ready()
            there = NEAR if there == ELSEWHERE else ELSEWHERE
            if time.monotonic() > end:
                break
        assert all(link.opened > opened[link] for link in servers), "somebody never came to the new address"


SCENARIOS = [
    Scenario(GROUP, "unanswered", unanswered, 0, 60, FarStage, causes=frozenset(), obstacle=obstacle()),
    Scenario(GROUP, "slow", slow, 0, 60, FarStage, recovers=45, obstacle=obstacle()),
    Scenario(GROUP, "failing", failing, 6, 60, FarStage, recovers=45, obstacle=obstacle()),
    Scenario(GROUP, "changed", moved, 0, 60, FarStage, recovers=45, obstacle=obstacle()),
]
