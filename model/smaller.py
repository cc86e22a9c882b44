"""What keeps the number of states small, and changes nothing that a promise could see."""

from model import running
from model.running import Step
from model.shapes import Memory, Owner, Record, Setting, World


def alone(world: World, setting: Setting) -> Step | None:
    """A step that comes to the same before or after any other: then only this one is looked at now.

    Such are the last ack, if its process stays and keeps its connection, and dropping a copy that nobody will ever
    need, if the store forgets nothing.
    """
    left = world.left
    if setting.weak:
        return None
    if not (left.crashes or left.disconnects):
        for place, work in enumerate(world.workers):
            if work is not None and (work.replaced >= 0 or (work.at == "publish" and not work.todo)):
                return next(running.goes_on(world, setting, place, work))
    if not (left.losses or left.failovers or left.retentions):
        for message in world.ready:
            reply, _, run = running.ask(world.record, message, (0, message.id), setting, only=True)
            if reply[0] == "drop":
                gone = world._replace(ready=running.without(world.ready, message))
                return Step(f"{running.told(message)} is dropped: {reply[1]}", gone, ran=(run,))
    return None


def canonical(world: World) -> World:
    """Of states that differ only in which process is which, one; without etas that nothing waits for."""
    if world.passed:
        etas = {m.what for m in world.ready if m.eta}
        etas.update(w.message.what for w in world.workers if w is not None and w.message.eta)
        if not etas.issuperset(world.passed):
            world = world._replace(passed=tuple(key for key in world.passed if key in etas))
    facts, generation = world.facts, world.memory.generation
    if generation > 1 and min((*facts.dead, *facts.ended_dead, generation)) < generation:
        dead = tuple(g for g in facts.dead if g >= generation)
        ended_dead = tuple(g for g in facts.ended_dead if g >= generation)
        world = world._replace(facts=facts._replace(dead=dead, ended_dead=ended_dead))
    if len(world.workers) != 2:
        return world
    return _swapped(world) if _rank(world, 1) < _rank(world, 0) else world


def _rank(world: World, place: int) -> tuple[object, ...]:
    work, process, record = world.workers[place], place + 1, world.record
    owners = (record.owner, record.callback_owner) if record is not None else ()
    owned = tuple(owner[1] if owner[0] == process else -1 for owner in owners)
    if work is None:
        return (1, "", owned)
    return (0, work.at, owned, work.copies, work.replaced, work.message, len(work.todo))


def _swapped(world: World) -> World:
    first, second = world.workers
    world = world._replace(
        workers=(second, first), record=_record_swapped(world.record), memory=_memory_swapped(world.memory)
    )
    if world.saved is None:
        return world
    record, outbox, memory = world.saved
    return world._replace(saved=(_record_swapped(record), outbox, _memory_swapped(memory)))


def _record_swapped(record: Record | None) -> Record | None:
    if record is None or (record.owner[0] <= 0 and record.callback_owner[0] <= 0):
        return record
    return record._replace(owner=_other(record.owner), callback_owner=_other(record.callback_owner))


def _memory_swapped(memory: Memory) -> Memory:
    (holder, step), (callback_holder, callback_step) = memory.holder, memory.callback_holder
    return memory._replace(holder=(_other(holder), step), callback_holder=(_other(callback_holder), callback_step))


def _other(owner: Owner) -> Owner:
    return (3 - owner[0], owner[1]) if owner[0] > 0 else owner
