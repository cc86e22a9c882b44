"""The promises, as far as they are about the protocol. Each raises Broken where it does not hold.

They look at what happened (`World.memory` and `World.facts`), not at what the scripts decided.
"""

from model.shapes import NOBODY, Memory, Message, Outcome, Owner, Record, Setting, World


class Broken(Exception):
    """A promise does not hold."""

    def __init__(self, promise: str, how: str) -> None:
        super().__init__(f"{promise}: {how}")
        self.promise = promise


def granted(world: World, message: Message, owner: Owner, webhook_id: str, one_result: bool, leased: bool) -> Memory:
    """A claim says 'run': the call may begin now, unless the job is out of time.

    `leased`: another process runs, and its lease was in force.
    """
    memory, generation = world.memory, message.generation
    _, step = memory.holder if message.kind == "execute" else memory.callback_holder
    if leased and step == message.step:
        raise Broken("one at a time", f"{message} began while another process was at it")
    if message.eta and message.what not in world.passed:
        raise Broken("on time", f"{message} began before its eta")
    if generation < memory.generation:
        raise Broken("stale never runs", f"{message} began, but generation {memory.generation} exists")
    outcomes = dict(memory.outcomes)
    if message.kind == "execute":
        if message.step in memory.settled:
            raise Broken("settled once", f"{message} was settled before, and is called again")
        if generation in outcomes:
            raise Broken("stale never runs", f"{message} began after its job was {outcomes[generation]}")
        return memory._replace(holder=(owner, message.step))
    if any(step[:2] == message.step[:2] and step >= message.step for step in memory.settled if len(step) == 3):
        raise Broken("settled once", f"{message} was settled before, and is sent again")
    if one_result and outcomes.get(generation, message.status) != message.status:
        raise Broken("one result", f"{message} tells what its job did not come to ({outcomes[generation]})")
    if one_result and any(known == generation and told != webhook_id for known, told in memory.told):
        raise Broken("one webhook-id", f"{webhook_id} is sent for what was told as {memory.told}")
    told = memory.told if (generation, webhook_id) in memory.told else (*memory.told, (generation, webhook_id))
    return memory._replace(told=told, callback_holder=(owner, message.step))


def settled(memory: Memory, message: Message, owner: Owner, anew: bool) -> Memory:
    """A settle says 'ok'; `anew`: and has changed the record."""
    executes = message.kind == "execute"
    holder, step = memory.holder if executes else memory.callback_holder
    if step == message.step and holder not in (NOBODY, owner):
        raise Broken("no zombie settles", f"{owner} settled {message}, which {holder} had claimed since")
    if anew and message.step in memory.settled:
        raise Broken("settled once", f"{owner} settled {message}, which was settled before")
    steps = memory.settled if message.step in memory.settled else tuple(sorted((*memory.settled, message.step)))
    if executes:
        return memory._replace(settled=steps, holder=(NOBODY, ()))
    return memory._replace(settled=steps, callback_holder=(NOBODY, ()))


def remembered(memory: Memory, record: Record | None) -> Memory:
    """What the store is bound to remember once it has this record."""
    if record is None:
        return memory
    if record.generation > memory.generation:
        # Of earlier generations nothing may begin any more, so that is all there is to remember of them.
        memory = Memory(record.generation, holder=memory.holder, callback_holder=memory.callback_holder)
    if record.final:
        outcomes = dict(memory.outcomes)
        known = outcomes.get(record.generation)
        if known is None:
            return memory._replace(outcomes=(*memory.outcomes, (record.generation, record.status)))
        if known != record.status:
            raise Broken("one result", f"generation {record.generation} was {known}, and is {record.status} now")
    return memory


def forward(before: Record | None, after: Record | None) -> None:
    """A record never moves back, and no settled attempt is settled anew."""
    if before is None or after is None or before is after:
        return
    if after.generation < before.generation:
        raise Broken("never back", f"from generation {before.generation} to {after.generation}")
    if after.generation > before.generation:
        return
    if after.attempt < before.attempt:
        raise Broken("never back", f"from attempt {before.attempt} to {after.attempt}")
    if before.final and after.status != before.status:
        raise Broken("never back", f"from {before.status} to {after.status}")
    again = before.settled_by and after.attempt == before.attempt and after.settled_by != before.settled_by
    if again and not (after.final and not before.final):
        raise Broken("never back", f"attempt {after.attempt} is settled by another copy")
    if _calling_back(after) < _calling_back(before):
        raise Broken("never back", f"from callback {_calling_back(before)} to {_calling_back(after)}")


def _calling_back(record: Record) -> tuple[int, int]:
    return (record.callback_generation or 1, record.callback_attempt)


def ended(world: World, generation: int, callback_generation: int, outcome: Outcome) -> World:
    """A result is where it should be: with its receiver, or among the dead letters, or recorded where nobody asked."""
    facts = world.facts
    dead = facts.ended_dead
    if outcome.dead and generation not in dead:
        dead = (*dead, generation)
    return world._replace(
        facts=facts._replace(ended=max(facts.ended, (generation, callback_generation)), ended_dead=dead)
    )


def quiet(world: World) -> bool:
    """Nothing is under way."""
    return not (world.ready or any(world.workers) or world.payers or world.outbox) and world.intake in (
        "answered",
        "failed",
    )


def unkept(world: World, setting: Setting) -> str:
    """What of the promises is not kept where nothing more will happen; empty when all is well."""
    facts, record = world.facts, world.record
    if not quiet(world):
        return "something waits, and nobody comes"
    if facts.ended < facts.promised:
        return f"{facts.promised} was promised, and no result was told since {facts.ended}"
    if missing := set(facts.ended_dead) - set(facts.dead):
        return f"generations {sorted(missing)} are not among the dead letters"
    whole = (world.left.losses, world.left.failovers) == (setting.left.losses, setting.left.failovers)
    if whole and record is not None and not (record.final and record.callback != "pending" and not record.owed):
        return f"the record is open, and nobody works on it: {record}"
    return ""
