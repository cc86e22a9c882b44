"""The network between services, servers, targets and receivers: slow, lossy, half-open."""

import contextlib
import time
from collections.abc import Iterator
from random import Random
from typing import cast

from tests.chaos.errands import Errand, Errands
from tests.chaos.far import FarStage
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.link import Link, Weather

GROUP = "network"

FAR_AWAY = Weather(latency=0.025, jitter=0.02)
LOSSY = Weather(latency=0.002, stalls=0.03, stall=0.3)
BREAKING = Weather(latency=0.002, stalls=0.03, stall=0.3, cuts=0.003)
"""At a rate of some hundred pieces a second and link, a reset every few seconds."""
TEARING = Weather(tears=0.003)
ERRANDS = 30
ENDED_WITHIN = 90.0
"""Seconds: the circuit of a way that is dead opens for 30 s, and what waits for it comes back one after the other."""
PATIENT = {"maxRetries": 10, "retryDelay": 500, "retry": {"strategy": "fixed"}, "timeout": 1000}


def slow(stage: Stage, _rng: Random, seconds: float) -> None:
    """Every packet takes 25 to 45 ms, wherever it goes."""
    far = cast(FarStage, stage)
    with weather(far, FAR_AWAY, "broker", "store", "target", "receiver"), far.fault("slow network"):
        time.sleep(seconds)


def lossy(stage: Stage, _rng: Random, seconds: float) -> None:
    """Packets are lost and sent again; now and then a connection to broker or store breaks over it."""
    far = cast(FarStage, stage)
    with (
        weather(far, LOSSY, "target", "receiver"),
        weather(far, BREAKING, "broker", "store"),
        far.fault("cut connections"),
    ):
        time.sleep(seconds)


def torn(stage: Stage, _rng: Random, seconds: float) -> None:
    """Connections to RabbitMQ and Redis are cut within frames and replies, in both directions."""
    far = cast(FarStage, stage)
    links = far.between("broker", "store")
    before = sum(link.torn for link in links)
    with weather(far, TEARING, "broker", "store"), far.fault("cut connections"):
        time.sleep(seconds)
    assert sum(link.torn for link in links) > before, "nothing was torn"


def half_open_broker(stage: Stage, rng: Random, seconds: float) -> None:
    """One service after the other has connections to RabbitMQ that are dead, and nobody told it."""
    _forget_in_turn(cast(FarStage, stage), rng, seconds, "broker")


def half_open_store(stage: Stage, rng: Random, seconds: float) -> None:
    _forget_in_turn(cast(FarStage, stage), rng, seconds, "store")


def _forget_in_turn(far: FarStage, rng: Random, seconds: float, server: str) -> None:
    links = far.between(server)
    rng.shuffle(links)
    end = time.monotonic() + seconds
    with far.fault("half-open connections"):
        for link in links:
            assert link.forget(), "there was no connection that could be forgotten"
            time.sleep(max(1.0, seconds / len(links)))
        while time.monotonic() < end:
            time.sleep(0.1)
    # What was taken over a connection that is dead comes back when both sides have noticed.
    far.await_ready()


def bad_ways(stage: Stage, rng: Random, seconds: float) -> None:
    """The ways to target and receiver break, fall silent and swallow; what is to be called is called at last."""
    far = cast(FarStage, stage)
    target, receiver = far.links["target", "executor"], far.links["receiver", "callback"]
    # Ways of their own for what may fail, so that the load beside them knows what to expect.
    seed = rng.randrange(1 << 30)
    with (
        Link(far.thread, target.find, seed=seed) as to_target,
        Link(far.thread, receiver.find, seed=seed + 1) as to_receiver,
        far.fault("bad ways to peers"),
    ):
        errands = Errands(far)
        delay = {"retryDelay": max(500, int(seconds * 100))}  # the last of ten retries comes when all is well again
        body = {
            "targetUrl": f"http://{to_target.address}/attempt/200:20",
            "method": "POST",
            **PATIENT,
            **delay,
            "callback": {
                "url": f"http://{to_receiver.address}/callback/200",
                "timeout": 1000,
                "retry": {"maxRetries": 10, **delay, "strategy": "fixed"},
            },
        }
        broken = Weather(stalls=0.1, stall=0.4, cuts=0.15)
        end = time.monotonic() + seconds
        while True:
            for link in (to_target, to_receiver):
                link.weather = broken
            errands.submit([Errand("by a bad way", body, "completed", None, "delivered")] * ERRANDS)
            time.sleep(1)
            for link in (to_target, to_receiver):
                link.heal()
                link.forget()
                link.swallow = True
            errands.submit([Errand("by a way that is dead", body, "completed", None, "delivered")] * ERRANDS)
            time.sleep(2)
            for link in (to_target, to_receiver):
                link.heal()
            if time.monotonic() > end:
                break
        errands.judge(ENDED_WITHIN)
        assert to_target.opened > 2, "nothing went by the bad way"


@contextlib.contextmanager
def weather(far: FarStage, what: Weather, *servers: str) -> Iterator[None]:
    """On all links to these."""
    links = far.between(*servers)
    for link in links:
        link.weather = what
    try:
        yield
    finally:
        for link in links:
            link.heal()


SCENARIOS = [
    Scenario(GROUP, "slow", slow, 5, 60, FarStage),
    Scenario(GROUP, "lossy", lossy, 6, 120, FarStage),
    Scenario(GROUP, "torn", torn, 6, 120, FarStage),
    Scenario(GROUP, "half-open-broker", half_open_broker, 6, 60, FarStage, recovers=45),
    Scenario(GROUP, "half-open-store", half_open_store, 6, 60, FarStage, recovers=45),
    Scenario(GROUP, "bad-ways-to-peers", bad_ways, 0, 60, FarStage),
]
