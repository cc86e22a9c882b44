"""Consumers: what steps.py, work.py and workloop.py do with a delivery, one step at a time.

A put-back (early, held or leased elsewhere) is the same message under the same id. One that is leased elsewhere is two
steps, as what comes in between joins it; one that is early joins nothing, and changes nothing here. That a message is
there twice although nobody died is the fault `copies`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from model import promises, scripts
from model.scripts import Reply
from model.shapes import HELD, Message, Outcome, Owner, Record, Setting, Work, World


class Run(NamedTuple):
    """A script that a step ran, and what it answered: replayed against the real one by tests/model."""

    script: str
    message: Message | None
    owner: Owner
    reply: Reply
    detail: tuple[object, ...] = ()
    """Whatever else it was given."""


class Step(NamedTuple):
    """What may happen next. A fault takes from what is `left`; what is none happens sooner or later."""

    label: str
    world: World
    fault: bool = False
    ran: tuple[Run, ...] = ()
    forgets: bool = False
    """The record may be older afterwards, or gone."""


def steps(world: World, setting: Setting) -> Iterator[Step]:
    """All that consumers may do now."""
    for place, work in enumerate(world.workers):
        if work is not None:
            yield from goes_on(world, setting, place, work)
    idle = [place for place, work in enumerate(world.workers) if work is None]
    for message in dict.fromkeys(world.ready):
        if message.eta and message.what not in world.passed and "early" not in setting.weak:
            yield from _hop(world, setting, message)
            continue
        for place, work in enumerate(world.workers):
            if work is not None and work.message == message and not work.acked:
                attached = work._replace(copies=work.copies + 1)
                label = f"worker {place + 1} gets {told(message)} again, which joins what runs"
                yield Step(label, at(world, place, attached)._replace(ready=without(world.ready, message)))
        for place in idle:
            taken = world._replace(ready=without(world.ready, message))
            label = f"worker {place + 1} claims {told(message)}"
            yield from _claim(taken, setting, place, Work(message, 1, "claim"), label)


def goes_on(world: World, setting: Setting, place: int, work: Work) -> Iterator[Step]:
    """What a consumer may do next with what it has."""
    name = f"worker {place + 1}"
    if work.at == "claim":
        yield from _claim(world, setting, place, work, f"{name} claims again")
    elif work.at == "call":
        yield from _end_call(world, setting, place, work, name)
    elif work.at == "settle":
        assert work.outcome is not None
        yield from _settle(world, setting, place, work, work.outcome, f"{name} settles again")
    elif work.at == "put back":
        yield from _put_back(world, setting, place, work, name)
    else:
        yield from _publish(world, setting, place, work, name)


def told(message: Message) -> str:
    return f"{message.kind} {'.'.join(map(str, message.step))} (id {message.id})"


def ask(
    record: Record | None, message: Message, owner: Owner, setting: Setting, *, only: bool = False
) -> tuple[Reply, Record | None, Run]:
    """Run the script that claims such a message."""
    script = scripts.claim if message.kind == "execute" else scripts.callback_claim
    reply, after = script(record, message, owner, setting.weak, ask=only)
    return reply, after, Run("claim", message, owner, reply, (only,))


def record_settle(
    record: Record | None, message: Message, owner: Owner, outcome: Outcome, setting: Setting
) -> tuple[Reply, Record | None, Run]:
    """Run the script that settles such a message; a callback that the record does not know is claimed first."""
    weak = setting.weak
    if message.kind == "execute":
        reply, after = scripts.settle(record, message, owner, outcome, setting.calls_back, weak)
    else:
        reply, after = scripts.callback_settle(record, message, owner, outcome, weak)
        if reply[0] == "unknown":
            _, claimed = scripts.callback_claim(record, message, owner, weak)
            reply, after = scripts.callback_settle(claimed, message, owner, outcome, weak)
    return reply, after, Run("settle", message, owner, reply, (outcome, setting.calls_back))


def _claim(world: World, setting: Setting, place: int, work: Work, label: str) -> Iterator[Step]:
    message, owner = work.message, (place + 1, work.message.id)
    field = "lease" if message.kind == "execute" else "callback_lease"
    leased = any(name == field and other != owner and running(world, other) for name, other in leases(world))
    reply, record, run = ask(world.record, message, owner, setting)
    world = world._replace(record=record)
    label = f"{label}: {' '.join(map(str, reply))}"
    if reply[0] == "run":
        yield from _unheard(at(world, place, work._replace(at="claim")), label, run)
        again = f".{message.callback_generation}" if "webhook-id" in setting.weak else ""
        told_as = f"{message.status}{again}"
        memory = promises.granted(world, message, owner, told_as, setting.one_result, leased)
        world = at(world, place, Work(message, work.copies, "call"))._replace(memory=memory)
    elif reply[0] == "settled":
        world = at(world, place, _publishing(message, work.copies, reply[1], setting))
    elif reply[0] == "leased" and "leased-acked" not in setting.weak:
        world = at(world, place, Work(message, work.copies, "put back"))
    else:
        world = at(world, place, None)
    yield Step(label, world, ran=(run,))


def _unheard(world: World, label: str, run: Run) -> Iterator[Step]:
    """The script ran, its reply was lost: it is run once more."""
    if world.left.lost_replies:
        left = world.left._replace(lost_replies=world.left.lost_replies - 1)
        yield Step(f"{label}, and the reply is lost", world._replace(left=left), fault=True, ran=(run,))


def _put_back(world: World, setting: Setting, place: int, work: Work, name: str) -> Iterator[Step]:
    """Publish the message once more, then ack what was in hand before: what came since may be that very copy."""
    message = work.message
    if work.replaced >= 0:
        late = 0 if "put-back-joined" in setting.weak else work.copies - work.replaced
        yield Step(
            f"{name} acks what it put back", at(world, place, None)._replace(ready=bag(world.ready, message, late))
        )
    elif not work.copies:
        yield Step(f"{name} leaves {told(message)} to its redelivery", at(world, place, None))
    else:
        label = f"{name} puts {told(message)} back"
        copy = message._replace(id=fresh_id(world)) if "put-back-id" in setting.weak else message
        out = world._replace(ready=bag(world.ready, copy))
        yield Step(label, at(out, place, work._replace(replaced=work.copies)))
        left = world.left
        if left.lost_confirms:
            again = out._replace(left=left._replace(lost_confirms=left.lost_confirms - 1))
            yield Step(f"{label}, and hears no confirm", again, fault=True)


def _hop(world: World, setting: Setting, message: Message) -> Iterator[Step]:
    """An early message asks, and goes back; only a copy that is not needed is dropped."""
    reply, record, run = ask(world.record, message, (1, message.id), setting, only=True)
    if reply[0] not in ("run", "settled", "leased"):
        world = world._replace(ready=without(world.ready, message))
        yield Step(f"{told(message)} is early and not needed: {reply[1]}", world, ran=(run,))
    elif record is not world.record:
        yield Step(f"{told(message)} is early; its record is made anew", world._replace(record=record), ran=(run,))


def _end_call(world: World, setting: Setting, place: int, work: Work, name: str) -> Iterator[Step]:
    if work.message.kind == "execute" and world.record is not None and world.record.status == "cancelled":
        yield Step(f"{name} stops its call: cancelled", at(world, place, work._replace(at="claim")))
    for outcome in outcomes(work.message, setting):
        label = f"{name}'s call of {told(work.message)} ends: {outcome.status}"
        if "publish-first" in setting.weak:
            todo = tuple(next_steps(work.message, outcome, setting))
            yield Step(
                f"{label}, not settled", at(world, place, work._replace(at="publish", outcome=outcome, todo=todo))
            )
        else:
            yield from _settle(world, setting, place, work, outcome, label)


def outcomes(message: Message, setting: Setting) -> Iterator[Outcome]:
    """What a call may come to. An answer that ends a job for good, success or not, is `completed` here."""
    if message.kind == "callback":
        yield Outcome("delivered")
        yield Outcome("pending") if message.callback_attempt < setting.callbacks else Outcome("failed", dead=True)
        return
    yield Outcome("completed")
    if setting.expires:
        yield Outcome("expired", called=False)
    more = message.attempt - message.base < setting.attempts
    yield Outcome("waiting") if more else Outcome("failed", dead=True)


def _settle(world: World, setting: Setting, place: int, work: Work, outcome: Outcome, label: str) -> Iterator[Step]:
    message, owner = work.message, (place + 1, work.message.id)
    if outcome.status == "delivered":  # its receiver has it, whatever the record says
        world = promises.ended(world, message.generation, message.callback_generation, Outcome("", message.dead))
    reply, record, run = record_settle(world.record, message, owner, outcome, setting)
    label = f"{label}: settle {reply[0]}"
    if reply[0] == "ok":
        memory = promises.settled(world.memory, message, owner, record != world.record)
        world = world._replace(record=record, memory=memory)
        if message.kind == "execute" and outcome.status != "waiting" and not setting.calls_back:
            world = promises.ended(world, message.generation, 1, outcome)
        yield from _unheard(at(world, place, work._replace(at="settle", outcome=outcome)), label, run)
    if reply[0] == "ok" or "refused-publishes" in setting.weak:
        after: Work | None = _publishing(message, work.copies, outcome, setting)
        if work.at == "publish":  # only in a weakened protocol: it published before it settled
            after = Work(message, work.copies, "publish")
    else:
        # Another delivery took the attempt over, and may be lost since: ask anew, never just ack.
        again = work.copies and "refused-acked" not in setting.weak
        after = Work(message, work.copies, "claim") if again else None
    yield Step(label, at(world, place, after), ran=(run,))


def _publishing(message: Message, copies: int, outcome: Outcome, setting: Setting) -> Work:
    todo = tuple(next_steps(message, outcome, setting))
    acked = "ack-first" in setting.weak and copies > 0
    return Work(message, 0 if acked else copies, "publish", todo=todo, acked=acked)


def next_steps(message: Message, outcome: Outcome, setting: Setting) -> Iterator[Message]:
    """What must be confirmed before the ack."""
    if message.kind == "callback":
        if outcome.status == "pending":
            yield message._replace(callback_attempt=message.callback_attempt + 1, eta=True, id=0)
        elif outcome.dead:
            yield message._replace(kind="dead-callback", id=0)
        return
    if outcome.status == "waiting":
        yield message._replace(attempt=message.attempt + 1, eta=True, id=0)
        return
    if outcome.dead and "dead-letter" not in setting.weak:
        yield message._replace(kind="dead-execute", id=0)
    if setting.calls_back:
        attempts = message.attempt if outcome.called else message.attempt - 1
        yield callback(message.generation, outcome.status, outcome.dead, attempts)


def callback(generation: int, status: str, dead: bool, attempts: int, callback_generation: int = 1) -> Message:
    return Message(
        "callback",
        generation,
        0,
        status=status,
        dead=dead,
        attempts=attempts,
        callback_generation=callback_generation,
        callback_attempt=1,
    )


def _publish(world: World, setting: Setting, place: int, work: Work, name: str) -> Iterator[Step]:
    if not work.copies and not work.acked:
        yield Step(f"{name} leaves {told(work.message)} to its redelivery", at(world, place, None))
    elif work.todo:
        first, *rest = work.todo
        out = published(world, first)
        label = f"{name} publishes {first.kind} {'.'.join(map(str, first.step))}"
        yield Step(label, at(out, place, work._replace(todo=tuple(rest))))
        left = world.left
        if left.lost_confirms and first.kind in ("execute", "callback"):
            again = out._replace(left=left._replace(lost_confirms=left.lost_confirms - 1))
            yield Step(f"{label}, and hears no confirm", again, fault=True)
    elif work.outcome is not None:  # only in a weakened protocol: settle last
        yield from _settle(world, setting, place, work, work.outcome, f"{name} settles")
    else:
        yield Step(f"{name} acks {told(work.message)}", at(world, place, None))


def published(world: World, message: Message) -> World:
    """A message is confirmed: in a queue, or kept among the dead letters."""
    if message.kind == "dead-execute":
        dead = tuple(sorted({*world.facts.dead, message.generation}))
        return world._replace(facts=world.facts._replace(dead=dead))
    if message.kind == "dead-callback":
        return promises.ended(world, message.generation, message.callback_generation, Outcome("", message.dead))
    return world._replace(ready=bag(world.ready, message._replace(id=fresh_id(world))))


def running(world: World, owner: Owner) -> bool:
    """Whether some process renews the lease of this owner."""
    place = owner[0] - 1
    work = world.workers[place] if 0 <= place < len(world.workers) else None
    return work is not None and work.message.id == owner[1] and work.at in ("call", "settle")


def leases(world: World) -> Iterator[tuple[str, Owner]]:
    """The fields of leases in force, with their owners."""
    record = world.record
    if record is not None and record.lease == HELD:
        yield "lease", record.owner
    if record is not None and record.callback_lease == HELD:
        yield "callback_lease", record.callback_owner


def at(world: World, place: int, work: Work | None) -> World:
    workers = world.workers
    return world._replace(workers=(*workers[:place], work, *workers[place + 1 :]))


def bag(messages: tuple[Message, ...], message: Message, copies: int = 1) -> tuple[Message, ...]:
    return tuple(sorted((*messages, *[message] * copies)))


def without(messages: tuple[Message, ...], message: Message) -> tuple[Message, ...]:
    place = messages.index(message)
    return messages[:place] + messages[place + 1 :]


def fresh_id(world: World) -> int:
    """The smallest number that nothing refers to."""
    used = {message.id for message in world.ready}
    used.update(work.message.id for work in world.workers if work is not None)
    for record in (world.record, world.saved[0] if world.saved is not None else None):
        if record is not None:
            used.update((record.settled_by, record.callback_settled_by, record.owner[1], record.callback_owner[1]))
    for memory in (world.memory, *([world.saved[2]] if world.saved is not None else [])):
        used.update((memory.holder[0][1], memory.callback_holder[0][1]))
    fresh = 1
    while fresh in used:
        fresh += 1
    return fresh
