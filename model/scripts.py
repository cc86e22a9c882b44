"""The Lua scripts of adapters/store/scripts, one function each, in their order and words: (reply, new record).

Times are left out: `lease > now` is HELD, `lease` other than '0' is HELD or OVER. A claim that answers 'unknown' is
asked again with the job at once, so here it is one call. `weak` names the checks that are left out.
"""

from typing import Any

from model.shapes import FREE, HELD, NOBODY, Message, Outcome, Owner, Record

Reply = tuple[Any, ...]
Weak = frozenset[str]


def rebuild(record: Record | None, message: Message, attempts: int, eta: bool) -> Record:
    """record.lua: what a message says replaces the record."""
    status = "waiting" if attempts > message.base else "scheduled" if eta else "queued"
    stale = record is not None and record.stale
    return Record(message.generation, attempts, status, eta, base=message.base, stale=stale)


def queued(record: Record | None, message: Message) -> tuple[Reply, Record]:
    if record is not None:
        return (2 if record.final else 0,), record
    return (1,), rebuild(None, message, 0, message.eta)


def claim(
    record: Record | None, message: Message, owner: Owner, weak: Weak = frozenset(), *, ask: bool = False
) -> tuple[Reply, Record | None]:
    """Replies ('run',), ('leased',), ('drop', why) or ('settled', outcome)."""
    r, attempt = record, message.attempt
    if r is not None and message.generation < r.generation and "stale-generation" not in weak:
        return ("drop", "stale generation"), r
    if r is not None and message.generation <= r.generation:
        if attempt <= r.attempt and "settled-attempt" not in weak:
            if attempt < r.attempt or r.settled_by != message.id:
                return ("drop", "settled by another copy"), r
            if "settled-dropped" in weak:
                return ("drop", "settled"), r
            if r.status == "cancelled":
                return ("drop", "cancelled"), r
            return _as_settled(r, called=True), r
        if r.final and "final" not in weak:
            if r.settled_by == message.id and r.status != "cancelled":
                return _as_settled(r, called=False), r
            return ("drop", r.status), r
        if r.lease == HELD and r.owner != owner and "lease" not in weak:
            return ("leased",), r
    ahead = r is None or message.generation > r.generation or attempt > r.attempt + 1
    if r is None and "rebuild" in weak:
        return ("drop", "no such job"), r
    if r is None or ahead:
        r = rebuild(r, message, attempt - 1, message.eta)
    if not ask:
        r = r._replace(status="in_progress", owner=owner, lease=HELD, eta=False)
    return ("run",), r


def _as_settled(r: Record, *, called: bool) -> Reply:
    if r.status == "in_progress":
        return ("drop", "next attempt began")
    return ("settled", Outcome(r.status, r.dead, called))


def settle(
    record: Record | None, message: Message, owner: Owner, outcome: Outcome, calls_back: bool, weak: Weak = frozenset()
) -> tuple[Reply, Record | None]:
    """Replies ('ok',) or ('refused',)."""
    r, g, attempt, called = record, message.generation, message.attempt, outcome.called
    if (
        r is not None
        and (r.generation, r.settled_by, r.owner) == (g, message.id, owner)
        and (attempt == r.attempt or (not called and attempt == r.attempt + 1 and r.final))
    ):
        return ("ok",), r
    if r is not None and "settle-settled" not in weak:
        behind = attempt <= r.attempt or (r.final and "settle-final" not in weak)
        if g < r.generation or (g == r.generation and behind):
            return ("refused",), r
    if r is None or g > r.generation or attempt > r.attempt + 1:
        r = rebuild(r, message, attempt - 1, False)
    elif r.owner != owner and r.lease != FREE and "settle-fence" not in weak:
        return ("refused",), r
    final = outcome.status != "waiting"
    r = r._replace(
        attempt=attempt if called else r.attempt,
        status=outcome.status,
        settled_by=message.id,
        owner=owner,
        lease=FREE,
        eta=not final,
    )
    if final:
        r = r._replace(dead=outcome.dead, callback="pending" if calls_back else "none")
    return ("ok",), r


def callback_claim(
    record: Record | None, message: Message, owner: Owner, weak: Weak = frozenset(), *, ask: bool = False
) -> tuple[Reply, Record | None]:
    """Replies as `claim` does."""
    r, cg, ca = record, message.callback_generation, message.callback_attempt
    if r is not None and message.generation < r.generation:
        return ("drop", "stale generation"), r
    if r is None or message.generation > r.generation or not r.final:
        r = rebuild(r, message, message.attempts, False)
        r = r._replace(status=message.status, dead=message.dead, callback="pending")
    else:
        g, settled = r.callback_generation or 1, r.callback_attempt
        if cg < g:
            return ("drop", "stale callback generation"), r
        if cg == g:
            if ca <= settled and "callback-settled" not in weak:
                if ca < settled or r.callback_settled_by != message.id:
                    return ("drop", "settled by another copy"), r
                return ("settled", Outcome(r.callback, r.callback_dead)), r
            if r.callback in ("delivered", "failed") and "callback-settled" not in weak:
                return ("drop", r.callback), r
            if r.callback_lease == HELD and r.callback_owner != owner:
                return ("leased",), r
        else:
            r = r._replace(
                callback="pending",
                callback_generation=cg,
                callback_attempt=ca - 1,
                callback_lease=FREE,
                callback_settled_by=0,
                callback_claimed=False,
                callback_dead=False,
            )
    if not ask:
        r = r._replace(callback_generation=cg, callback_owner=owner, callback_lease=HELD, callback_claimed=True)
    return ("run",), r


def callback_settle(
    record: Record | None, message: Message, owner: Owner, outcome: Outcome, weak: Weak = frozenset()
) -> tuple[Reply, Record | None]:
    """Replies ('ok',), ('refused',) or ('unknown',): claim, then settle again."""
    r, cg, ca = record, message.callback_generation, message.callback_attempt
    if r is None or message.generation > r.generation or (message.generation == r.generation and not r.final):
        return ("unknown",), r
    g, settled = r.callback_generation or 1, r.callback_attempt
    same = message.generation == r.generation
    if same and (cg, ca, message.id, owner) == (g, settled, r.callback_settled_by, r.callback_owner):
        return ("ok",), r
    if message.generation < r.generation or cg < g or (cg == g and ca <= settled):
        return ("refused",), r
    if r.callback_owner != owner and r.callback_lease != FREE and "callback-fence" not in weak:
        return ("refused",), r
    return ("ok",), r._replace(
        callback=outcome.status,
        callback_generation=cg,
        callback_attempt=ca,
        callback_settled_by=message.id,
        callback_lease=FREE,
        callback_claimed=False,
        callback_eta=outcome.status == "pending",
        callback_dead=outcome.dead,
    )


def release(record: Record | None, kind: str, owner: Owner) -> tuple[Reply, Record | None]:
    """lease.lua with 0 ms. With more it extends what here does not run out."""
    r = record
    if kind == "execute":
        if r is not None and r.status == "cancelled":
            return (2,), r
        if r is None or r.owner != owner or r.lease == FREE:
            return (0,), r
        return (1,), r._replace(lease=FREE)
    if r is None or r.callback_owner != owner or r.callback_lease == FREE:
        return (0,), r
    return (1,), r._replace(callback_lease=FREE)


def act(
    record: Record | None, name: str, token: int, calls_back: bool, weak: Weak = frozenset()
) -> tuple[Reply, Record | None]:
    """Replies ('ok', fresh), ('unknown',) or ('refused', why)."""
    r = record
    if r is None:
        return ("unknown",), r
    dead = r.dead and r.final and r.status != "completed"
    callback_dead = r.callback == "failed" and r.callback_dead
    owes = r.owed[0] if r.owed else ""
    done = (
        r.acted == token
        or (owes in ("callback", "news") and name == "cancel" and r.status == "cancelled")
        or (owes == "callback" and name == "redrive-callback" and r.callback == "pending")
        or (owes == "execute" and r.status == "queued" and name in ("retry", "redrive-execute"))
    )
    if done:
        return ("ok", 0), r
    stale = "tombstone" not in weak
    if name == "cancel":
        if r.final:
            return ("refused", "final"), r
        kind = "callback" if calls_back else "news"
        r = r._replace(
            status="cancelled", dead=False, eta=False, lease=FREE, stale=stale, owed=(kind, token), acted=token
        )
        return ("ok", 1), r._replace(callback="pending" if calls_back else "none")
    if name in ("retry", "redrive-execute"):
        if name == "redrive-execute" and not dead:
            return ("refused", "not dead"), r
        if r.status in ("completed", "in_progress", "queued"):
            return ("refused", r.status), r
        fresh = Record(
            generation=r.generation + ("same-generation" not in weak),
            attempt=r.attempt,
            status="queued",
            base=r.attempt if r.final else r.base,
            owed=("execute", token),
            acted=token,
            stale=r.stale or (stale and (not r.final or r.callback == "pending")),
        )
        return ("ok", 1), fresh
    if not callback_dead:
        return ("refused", "not dead"), r
    return ("ok", 1), r._replace(
        callback="pending",
        callback_generation=(r.callback_generation or 1) + 1,
        callback_attempt=0,
        callback_lease=FREE,
        callback_settled_by=0,
        callback_owner=NOBODY,
        callback_claimed=False,
        callback_eta=False,
        callback_dead=False,
        owed=("callback", token),
        acted=token,
    )


def paid(record: Record | None, owed: tuple[str, int]) -> tuple[Reply, Record | None]:
    if record is not None and record.owed == owed:
        return (1,), record._replace(owed=())
    return (1,), record
