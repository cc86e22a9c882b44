"""Every state that can be reached, the shortest way first; and the shortest way to what should not be."""

from collections.abc import Iterator
from typing import NamedTuple

from model import asking, faults, promises, running, smaller
from model.running import Step
from model.shapes import Setting, World


class Found(NamedTuple):
    """What a search came to. `broken`: which promise, and `how`, with the steps that lead there; empty if none."""

    states: int
    broken: str = ""
    how: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.broken:
            return f"{self.states} states, every promise holds"
        steps = "\n".join(f"{number:3}. {label}" for number, label in enumerate(self.trace, 1))
        return f"{self.how}\n{steps}"


def start(setting: Setting) -> World:
    return World(setting.left, (None,) * setting.workers)


def steps(world: World, setting: Setting) -> Iterator[Step]:
    """All that may happen next, with the promises about single steps looked at."""
    alone = smaller.alone(world, setting)
    for step in all_steps(world, setting) if alone is None else (alone,):
        after = step.world
        if after == world:
            continue
        if not step.forgets:
            promises.forward(world.record, after.record)
        memory = promises.remembered(after.memory, after.record)
        yield step._replace(world=smaller.canonical(after._replace(memory=memory)))


def all_steps(world: World, setting: Setting) -> Iterator[Step]:
    yield from asking.steps(world, setting)
    yield from running.steps(world, setting)
    yield from faults.time(world)
    yield from faults.faults(world, setting)


def search(setting: Setting, most: int = 10_000_000) -> Found:
    """Look at every state; stop at the first that breaks a promise."""
    first = start(setting)
    number: dict[World, int] = {first: 0}
    came: list[tuple[int, str]] = [(0, "")]
    """From which state, and by what."""
    onward: list[list[int]] = []
    """Where each state goes without a fault."""
    kept: list[int] = []
    """States where all is done, and as promised."""
    queue = [first]
    for here, world in enumerate(queue):
        onward.append([])
        try:
            for step in steps(world, setting):
                there = number.get(step.world)
                if there is None:
                    there = number[step.world] = len(queue)
                    queue.append(step.world)
                    came.append((here, step.label))
                if not step.fault:
                    onward[here].append(there)
        except promises.Broken as broken:
            return Found(len(queue), broken.promise, str(broken), _trace(came, here))
        if not onward[here]:
            if how := promises.unkept(world, setting):
                return Found(len(queue), "nothing lost", f"nothing lost: {how}", _trace(came, here))
            kept.append(here)
        if len(queue) > most:
            raise RuntimeError(f"{setting.name} has more than {most} states")
    astray = _never_there(onward, kept)
    if astray is None:
        return Found(len(queue))
    how = "nothing lost: from here on no way leads to the end, however long it takes"
    return Found(len(queue), "nothing lost", how, _trace(came, astray))


def _never_there(onward: list[list[int]], kept: list[int]) -> int | None:
    """The first state from which no state of `kept` can be reached without another fault."""
    back: list[list[int]] = [[] for _ in onward]
    for here, targets in enumerate(onward):
        for there in targets:
            back[there].append(here)
    reaches = bytearray(len(onward))
    waiting = list(kept)
    for state in waiting:
        reaches[state] = 1
    while waiting:
        for before in back[waiting.pop()]:
            if not reaches[before]:
                reaches[before] = 1
                waiting.append(before)
    astray = reaches.find(0)
    return None if astray < 0 else astray


def _trace(came: list[tuple[int, str]], state: int) -> tuple[str, ...]:
    labels = []
    while state:
        state, label = came[state]
        labels.append(label)
    return tuple(reversed(labels))
