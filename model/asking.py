"""Clients, operators and intake: a job is handed in; a job is cancelled, retried or redriven through the outbox."""

from collections.abc import Iterator

from model import promises, scripts
from model.running import Run, Step, callback, published
from model.shapes import NOBODY, Facts, Message, Outcome, Payer, Record, Setting, World


def steps(world: World, setting: Setting) -> Iterator[Step]:
    """All that intake may do now."""
    yield from _accept(world, setting)
    for place, payer in enumerate(world.payers):
        yield from _pay(world, setting, place, payer)
    if not any(payer.answers == (0, 0) for payer in world.payers):
        yield from _duty(world)
    for name in dict.fromkeys(world.left.acts):
        if (step := _act(world, setting, name)) is not None:
            yield step


def _accept(world: World, setting: Setting) -> Iterator[Step]:
    first = Message("execute", 1, 1, eta=setting.scheduled)
    if world.intake == "asked":
        if "answer-first" in setting.weak:
            yield Step(
                "intake answers 202, and publishes later", world._replace(intake="published", facts=Facts((1, 1)))
            )
        else:
            yield Step("intake publishes", published(world, first)._replace(intake="published"))
    elif world.intake == "published":
        reply, record = scripts.queued(world.record, first)
        world = world._replace(record=record)
        if "answer-first" in setting.weak:
            world = published(world, first)
        done = world._replace(intake="answered", facts=_promise(world.facts, (1, 1)))
        yield Step("intake records the job, and answers 202", done, ran=(Run("queued", first, NOBODY, reply),))
    elif world.intake == "failed" and world.left.resubmits:
        left = world.left._replace(resubmits=world.left.resubmits - 1)
        yield Step("the client asks again", world._replace(intake="asked", left=left), fault=True)


def _act(world: World, setting: Setting, name: str) -> Step | None:
    acts = list(world.left.acts)
    acts.remove(name)
    token = world.tokens + 1
    reply, record = scripts.act(world.record, name, token, setting.calls_back, setting.weak)
    if reply[0] != "ok":
        return None
    assert record is not None
    run = Run("act", None, NOBODY, reply, (name, token, setting.calls_back))
    payer = _payer(record)
    listed = "entry-late" not in setting.weak
    known = payer.owed[1] in world.outbox or not payer.owed[1] or not listed
    outbox = world.outbox if known else (*world.outbox, payer.owed[1])
    target = (record.generation, record.callback_generation or 1)
    payer = payer._replace(answers=target, listed=listed or not payer.owed[1])
    if "outbox" in setting.weak:
        record, outbox = record._replace(owed=()), world.outbox
    world = world._replace(
        record=record,
        left=world.left._replace(acts=tuple(acts)),
        tokens=token,
        outbox=outbox,
        payers=(*world.payers, payer),
    )
    if record.status == "cancelled" and not setting.calls_back:
        world = promises.ended(world, record.generation, 1, Outcome("cancelled"))
    # An act may come, or not: nothing may depend on it.
    return Step(f"a client acts: {name}", world, fault=True, ran=(run,))


def _payer(record: Record) -> Payer:
    """Whoever looks at a record that owes makes the message from it, if that is still due (owing.py)."""
    owed = record.owed or ("", 0)
    message = None
    if owed[0] == "execute" and record.status == "queued":
        message = Message("execute", record.generation, record.attempt + 1, record.base)
    elif owed[0] == "callback" and record.final and record.callback == "pending":
        begun = record.callback_attempt or record.callback_claimed
        if not begun:
            cg = record.callback_generation or 1
            message = callback(record.generation, record.status, record.dead, record.attempt, cg)
    return Payer(owed, message, (0, 0))


def _duty(world: World) -> Iterator[Step]:
    """What is owed for long is published by somebody else; an entry that stands for nothing goes."""
    for token in world.outbox:
        record, left = world.record, world.left
        if record is None or not record.owed or record.owed[1] != token:
            outbox = tuple(t for t in world.outbox if t != token)
            yield Step(f"entry {token} stands for nothing", world._replace(outbox=outbox))
            continue
        found = world._replace(payers=(*world.payers, _payer(record)))
        label = f"the duty finds what is owed: {record.owed}"
        if not any(payer.owed[1] == token for payer in world.payers):
            yield Step(label, found)
        elif left.stalls:  # the request is there still: it took longer than it may
            yield Step(label, found._replace(left=left._replace(stalls=left.stalls - 1)), fault=True)


def _pay(world: World, setting: Setting, place: int, payer: Payer) -> Iterator[Step]:
    others = world.payers[:place] + world.payers[place + 1 :]
    name = "the duty" if payer.answers == (0, 0) else "intake"
    if not payer.listed:
        world = world._replace(payers=(*others, payer._replace(listed=True)), outbox=(*world.outbox, payer.owed[1]))
        yield Step("intake writes the entry", world)
        return
    note_first = "paid-first" in setting.weak and payer.owed[1]
    if payer.message is not None and not note_first:
        out = published(world, payer.message)
        label = f"{name} publishes {payer.message.kind} {'.'.join(map(str, payer.message.step))}"
        yield Step(label, out._replace(payers=(*others, payer._replace(message=None))))
        return
    if payer.owed[1]:
        reply, record = scripts.paid(world.record, payer.owed)
        run = Run("paid", None, NOBODY, reply, payer.owed)
        outbox = tuple(t for t in world.outbox if t != payer.owed[1])
        world = world._replace(record=record, outbox=outbox)
        if note_first:
            world = world._replace(payers=(*others, payer._replace(owed=("", 0))))
            yield Step(f"{name} takes the note out", world, ran=(run,))
            return
        world = world._replace(payers=others, facts=_promise(world.facts, payer.answers))
        yield Step(f"{name} takes the note out", world, ran=(run,))
    else:
        yield Step(f"{name} is done", world._replace(payers=others, facts=_promise(world.facts, payer.answers)))


def _promise(facts: Facts, target: tuple[int, int]) -> Facts:
    return facts._replace(promised=max(facts.promised, target))
