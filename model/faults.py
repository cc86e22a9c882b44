"""What goes wrong, as often as `World.left` says; and time, which passes by itself."""

from collections.abc import Iterator

from model import scripts
from model.running import Run, Step, at, bag, leases, running, told
from model.shapes import GONE, NOBODY, OVER, Left, Memory, Owner, Record, Setting, Work, World


def time(world: World) -> Iterator[Step]:
    """What comes of itself: an eta, the end of a lease that nobody renews."""
    for key in dict.fromkeys(m.what for m in world.ready if m.eta):
        if key not in world.passed:
            yield Step(f"the eta of {key} comes", world._replace(passed=tuple(sorted((*world.passed, key)))))
    for field, owner in leases(world):
        if not running(world, owner):
            yield _run_out(world, field, "nobody renews it")


def faults(world: World, setting: Setting) -> Iterator[Step]:
    """One more fault."""
    left = world.left
    if left.crashes:
        yield from _crashes(_spend(world, "crashes"), setting)
    if left.stalls:
        for field, owner in leases(world):
            if running(world, owner):
                step = _run_out(_spend(world, "stalls"), field, f"worker {owner[0]} stalls")
                yield step._replace(fault=True)
    for place, work in enumerate(world.workers):
        if left.disconnects and work is not None and work.copies:
            alone = work._replace(copies=0, replaced=min(work.replaced, 0))
            lost = at(_spend(world, "disconnects"), place, alone)
            lost = lost._replace(ready=bag(world.ready, work.message, work.copies))
            yield Step(f"worker {place + 1} loses its connection", lost, fault=True)
    if left.copies:
        for message in dict.fromkeys(world.ready):
            copied = _spend(world, "copies")._replace(ready=bag(world.ready, message))
            yield Step(f"{told(message)} is put back, and not acked", copied, fault=True)
    yield from _losses(world)


def _spend(world: World, name: str) -> World:
    left: Left = world.left
    return world._replace(left=left._replace(**{name: getattr(left, name) - 1}))


def _run_out(world: World, field: str, why: str) -> Step:
    assert world.record is not None
    record = world.record
    record = record._replace(lease=OVER) if field == "lease" else record._replace(callback_lease=OVER)
    return Step(f"the {field} runs out: {why}", world._replace(record=record))


def _crashes(world: World, setting: Setting) -> Iterator[Step]:
    for place, work in enumerate(world.workers):
        if work is None:
            continue
        owner = (place + 1, work.message.id)
        yield Step(f"worker {place + 1} is killed", _gone(world, place, work), fault=True)
        if work.at not in ("publish", "put back"):
            reply, record = scripts.release(world.record, work.message.kind, owner)
            memory = world.memory
            if memory.holder[0] == owner:
                memory = memory._replace(holder=(NOBODY, ()))
            if memory.callback_holder[0] == owner:
                memory = memory._replace(callback_holder=(NOBODY, ()))
            released = world._replace(record=record, memory=memory)
            run = Run("release", work.message, owner, reply)
            yield Step(f"worker {place + 1} is shut down", _gone(released, place, work), fault=True, ran=(run,))
    if world.intake == "published":
        yield Step("intake is killed before it answers", world._replace(intake="failed"), fault=True)
    # Whoever acts and dies leaves the message to the outbox. That the store loses this too before the duty comes, in
    # the same ten seconds, is two faults at once, and may lose the job: see README.md.
    if not (setting.left.losses or setting.left.failovers):
        for place, payer in enumerate(world.payers):
            others = world.payers[:place] + world.payers[place + 1 :]
            yield Step(f"who pays {payer.owed} is killed", world._replace(payers=others), fault=True)


def _gone(world: World, place: int, work: Work) -> World:
    """Its deliveries go back, and nobody will have its name again."""
    world = at(world, place, None)._replace(ready=bag(world.ready, work.message, work.copies))
    world = world._replace(record=_forget(world.record, place + 1), memory=_forget_holder(world.memory, place + 1))
    if world.saved is not None:
        record, outbox, memory = world.saved
        world = world._replace(saved=(_forget(record, place + 1), outbox, _forget_holder(memory, place + 1)))
    return world


def _forget(record: Record | None, process: int) -> Record | None:
    if record is None:
        return None
    owner, callback_owner = _renamed(record.owner, process), _renamed(record.callback_owner, process)
    return record._replace(owner=owner, callback_owner=callback_owner)


def _forget_holder(memory: Memory, process: int) -> Memory:
    (holder, step), (callback_holder, callback_step) = memory.holder, memory.callback_holder
    return memory._replace(
        holder=(_renamed(holder, process), step), callback_holder=(_renamed(callback_holder, process), callback_step)
    )


def _renamed(owner: Owner, process: int) -> Owner:
    return GONE if owner[0] == process else owner


def _losses(world: World) -> Iterator[Step]:
    left, record = world.left, world.record
    if left.losses and record is not None:
        empty = _spend(world, "losses")._replace(record=None, outbox=(), memory=Memory())
        yield Step("the store loses all data", empty, fault=True, forgets=True)
    if left.failovers:
        if world.saved is None:
            yield Step("the store saves", world._replace(saved=(record, world.outbox, world.memory)), fault=True)
        elif world.saved != (record, world.outbox, world.memory):
            back, outbox, memory = world.saved
            fallen = _spend(world, "failovers")._replace(record=back, outbox=outbox, memory=memory, saved=None)
            yield Step("the store loses its last writes", fallen, fault=True, forgets=True)
    if left.retentions and record is not None and record.final and record.callback != "pending":
        busy = any(world.workers) or world.payers or world.outbox or world.intake not in ("answered", "failed")
        early = all(m.eta and m.what not in world.passed for m in world.ready)
        if not busy and early and not (record.stale and world.ready):
            over = _spend(world, "retentions")._replace(record=None)
            yield Step("the record's time is over", over, fault=True, forgets=True)
