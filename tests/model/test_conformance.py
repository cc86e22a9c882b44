"""The model says of the real scripts what they do: random walks, step by step, verdict by verdict, field by field."""

import random
from collections.abc import Iterator

import pytest
from model.running import Step
from model.search import all_steps, start
from model.shapes import Left, Setting, World
from tests.model.replay import Replay

from devstack.servers import Redis
from model import promises, scripts

pytestmark = pytest.mark.stack
WALKS = 15
STEPS = 60
ACTS = ("cancel", "retry", "redrive-execute", "redrive-callback")
FAULTS = Left(2, 2, 2, 1, 1, 2, losses=1, failovers=1, resubmits=1, acts=(*ACTS, "retry", "redrive-callback"))
SETTINGS = (
    Setting("everything at once", FAULTS, callbacks=2),
    Setting("acts alone", Left(2, 1, acts=ACTS * 2), attempts=1),
    Setting("out of time", FAULTS._replace(acts=("retry", "cancel")), expires=True, scheduled=True),
    Setting("nobody to tell", FAULTS, calls_back=False),
    Setting("three workers", FAULTS, workers=3, scheduled=True),
)


def _next(world: World, setting: Setting, rng: random.Random) -> Step | None:
    """Some step, more often one that is no fault. So many faults at once may break promises: that is not asked here."""
    found: list[Step] = []
    try:
        found.extend(step for step in all_steps(world, setting) if step.world != world or step.ran)
    except promises.Broken:
        return None
    calm = [step for step in found if not step.fault]
    return rng.choice(calm if calm and rng.random() < 0.7 else found) if found else None


def _refusals(world: World, setting: Setting) -> Iterator[tuple[str, tuple[object, ...]]]:
    for name in ACTS:
        reply, _ = scripts.act(world.record, name, 99, setting.calls_back)
        if reply[0] != "ok":
            yield name, reply


async def test_the_real_scripts_do_what_the_model_says(redis: Redis) -> None:
    ran: set[str] = set()
    for setting in SETTINGS:
        for seed in range(WALKS):
            await _walk(redis, setting._replace(one_result=False), seed, ran)
    claims = {"claim run", "claim leased", "claim drop", "claim settled"}
    assert claims | {"settle ok", "settle refused", "act ok", "queued 0", "queued 1", "paid 1", "release 1"} <= ran


async def _walk(redis: Redis, setting: Setting, seed: int, ran: set[str]) -> None:
    rng = random.Random(f"{setting.name} {seed}")
    replay = Replay(redis.url, f"{setting.name.replace(' ', '-')}-{seed}", setting.calls_back)
    world = start(setting)
    trace: list[str] = []
    try:
        for _ in range(STEPS):
            if (step := _next(world, setting, rng)) is None:
                return
            trace.append(step.label)
            await replay.follow(step)
            ran.update(f"{run.script} {run.reply[0]}" for run in step.ran)
            memory = promises.remembered(step.world.memory, step.world.record)
            world = step.world._replace(memory=memory)
            if rng.random() < 0.05:
                for name, reply in _refusals(world, setting):
                    assert await replay.act(name, 99) == reply, name
    except promises.Broken:
        return
    except AssertionError as error:
        raise AssertionError("\n".join((f"{setting.name}, walk {seed}", *trace, str(error)))) from error
    finally:
        await replay.store.close()
