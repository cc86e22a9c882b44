"""Protocols with one rule left out. The search finds what each rule is for: the promise that breaks without it."""

from typing import NamedTuple

from model.shapes import Left, Setting


class Weakness(NamedTuple):
    """`name` is what the code looks for in `Setting.weak`; `breaks` the promise, `setting` where that is seen."""

    name: str
    what: str
    breaks: str
    setting: Setting


def _weak(name: str, what: str, breaks: str, left: Left, **more: int | bool) -> Weakness:
    setting = Setting(what, left, weak=frozenset({name}), **more)  # type: ignore[arg-type]
    return Weakness(name, what, breaks, setting)


LOST = "nothing lost"
WEAKNESSES = (
    _weak("answer-first", "202 before the confirm", LOST, Left(crashes=1)),
    _weak("ack-first", "ack before the next step is confirmed", LOST, Left(crashes=1)),
    _weak("publish-first", "settle after the next step is out", "one result", Left(stalls=1, copies=1), attempts=1),
    _weak(
        "refused-publishes",
        "a refused settle still publishes",
        "one result",
        Left(stalls=1, copies=1),
        attempts=1,
    ),
    _weak(
        "refused-acked",
        "a refused settle is acked instead of asking anew",
        LOST,
        Left(crashes=1, stalls=1, copies=1),
        attempts=1,
    ),
    _weak("leased-acked", "what is leased elsewhere is acked, not put back", LOST, Left(crashes=1)),
    _weak("put-back-id", "what is put back gets another id (ADR 8)", LOST, Left(disconnects=1)),
    _weak(
        "put-back-joined",
        "a copy that is back before its confirm is acked with the first",
        LOST,
        Left(disconnects=1),
    ),
    _weak("dead-letter", "a spent job is called back, and not dead-lettered", LOST, Left()),
    _weak("early", "an early message is begun", "on time", Left()),
    _weak("stale-generation", "a claim does not look at generations", "stale never runs", Left(acts=("retry",))),
    _weak("same-generation", "an act that runs a job again keeps its generation", "never back", Left(acts=("retry",))),
    _weak("settled-attempt", "a claim does not look at settled attempts", "settled once", Left(crashes=1)),
    _weak("settled-dropped", "a settled attempt is never published again", LOST, Left(crashes=1)),
    _weak("final", "a claim does not look at final states", "stale never runs", Left(acts=("cancel",))),
    _weak("lease", "a claim does not look at leases", "one at a time", Left(copies=1)),
    _weak("rebuild", "a message without a record is dropped", LOST, Left(losses=1)),
    _weak("settle-settled", "a settle does not look at settled attempts", "settled once", Left(stalls=1, copies=1)),
    _weak("settle-final", "a settle does not look at final states", "never back", Left(acts=("cancel",))),
    _weak(
        "settle-fence",
        "a settle does not look at who claimed since",
        "no zombie settles",
        Left(stalls=1, disconnects=1),
    ),
    _weak("callback-settled", "a callback that is settled is sent again", "settled once", Left(crashes=1)),
    _weak(
        "callback-fence",
        "a callback's settle does not look at claims",
        "no zombie settles",
        Left(stalls=1, disconnects=1),
    ),
    _weak(
        "webhook-id", "a redriven callback has another webhook-id", "one webhook-id", Left(acts=("redrive-callback",))
    ),
    _weak("outbox", "an act notes nothing before it publishes", LOST, Left(crashes=1, acts=("cancel",))),
    _weak("entry-late", "the outbox is written after the record", LOST, Left(crashes=1, acts=("cancel",))),
    _weak("paid-first", "the note is taken out before the confirm", LOST, Left(crashes=1, acts=("cancel",))),
    _weak(
        "tombstone",
        "the state of a cancelled job goes with its record (ADR 13)",
        "stale never runs",
        Left(acts=("cancel",), retentions=1),
        scheduled=True,
    ),
)
