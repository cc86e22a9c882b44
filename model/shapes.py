"""What the state of the model is made of. Everything is a tuple, so that states can be hashed and compared.

0 and () stand for nothing. A message id is the smallest number that nothing refers to; an owner is a worker and a
message id.
"""

from typing import NamedTuple

FINAL = ("completed", "failed", "cancelled", "expired")
Owner = tuple[int, int]
Key = tuple[str | int, ...]
NOBODY: Owner = (0, 0)
GONE: Owner = (-1, 0)
"""An owner whose process is gone: nobody will have its name again."""

FREE, HELD, OVER = 0, 1, 2
"""A lease: none or released; in force; run out, which a settle by another still respects (`lease` is not '0')."""


class Message(NamedTuple):
    """`kind`: execute | callback, and dead-execute | dead-callback for what nobody consumes.

    `eta`: it must not begin before a time that `World.passed` knows. A callback has the outcome that it tells
    (`status`, `dead`) and how many attempts were made.
    """

    kind: str
    generation: int
    attempt: int
    base: int = 0
    eta: bool = False
    status: str = ""
    dead: bool = False
    attempts: int = 0
    callback_generation: int = 0
    callback_attempt: int = 0
    id: int = 0

    @property
    def step(self) -> tuple[int, ...]:
        """What the message asks for; its copies ask for the same."""
        if self.kind == "execute":
            return (self.generation, self.attempt)
        return (self.generation, self.callback_generation, self.callback_attempt)

    @property
    def what(self) -> Key:
        """The step, and of what."""
        return (self.kind, *self.step)


class Record(NamedTuple):
    """`carom:{<jobId>}:state`, field by field as ARCHITECTURE.md lists them, without bookkeeping for people."""

    generation: int
    attempt: int
    status: str
    eta: bool = False
    settled_by: int = 0
    owner: Owner = NOBODY
    lease: int = FREE
    dead: bool = False
    base: int = 0
    callback: str = ""
    callback_generation: int = 0
    callback_attempt: int = 0
    callback_settled_by: int = 0
    callback_owner: Owner = NOBODY
    callback_lease: int = FREE
    callback_claimed: bool = False
    """`callback_claims` is over 0: somebody began this attempt to call back."""
    callback_eta: bool = False
    callback_dead: bool = False
    owed: tuple[str, int] | tuple[()] = ()
    acted: int = 0
    stale: bool = False
    """`stale_until` is set: the state stays until no copy of an earlier time can arrive."""

    @property
    def final(self) -> bool:
        return self.status in FINAL


class Outcome(NamedTuple):
    """What a call came to, as it is settled and as a claim by the same copy finds it again."""

    status: str
    """Of an attempt: waiting or final; of a callback: pending, delivered, failed."""
    dead: bool = False
    called: bool = True
    """False where the job expired before its call: that counts no attempt."""


class Work(NamedTuple):
    """One message in one process. `at`: claim | call | settle | publish | put back, which is what it does next."""

    message: Message
    copies: int
    """Deliveries that it holds unacked; 0: they have gone back to the queue (the connection was lost)."""
    at: str
    outcome: Outcome | None = None
    todo: tuple[Message, ...] = ()
    """What is to be published before the ack."""
    replaced: int = -1
    """How many of its deliveries were there before it was put back, and are acked for that; -1: it is not yet."""
    acked: bool = False
    """Only in a weakened protocol."""


class Payer(NamedTuple):
    """A request that acts, or the duty that pays what such requests left owing."""

    owed: tuple[str, int]
    message: Message | None
    """What it publishes, if that is due; None once it is confirmed."""
    answers: tuple[int, int]
    """The (generation, callback generation) that its 200 promises; (0, 0) for the duty, which answers nobody."""
    listed: bool = True
    """Whether the outbox has its entry. Only a weakened protocol acts before it does."""


class Memory(NamedTuple):
    """What the store is bound to remember. Losing data loses it, as the promises say."""

    generation: int = 0
    outcomes: tuple[tuple[int, str], ...] = ()
    """Generation and the status that it ended with."""
    settled: tuple[tuple[int, ...], ...] = ()
    """Steps that are settled, of attempts and of callbacks."""
    holder: tuple[Owner, tuple[int, ...]] = (NOBODY, ())
    """Who was granted a claim last, and of which step, until it settled or gave it back."""
    callback_holder: tuple[Owner, tuple[int, ...]] = (NOBODY, ())
    told: tuple[tuple[int, str], ...] = ()
    """The webhook-ids that a receiver has seen."""


class Facts(NamedTuple):
    """What happened outside of broker and store, and is true whatever they lose."""

    promised: tuple[int, int] = (0, 0)
    """The latest (generation, callback generation) that a client was promised with 202 or 200."""
    ended: tuple[int, int] = (0, 0)
    """The latest whose result was delivered, or is among the dead letters."""
    dead: tuple[int, ...] = ()
    """Generations whose job is among the dead letters."""
    ended_dead: tuple[int, ...] = ()
    """Generations whose result said that their retries are spent."""


class Left(NamedTuple):
    """How much may still go wrong, or be asked for."""

    crashes: int = 0
    """Processes killed (their leases stay) or shut down (their leases are released)."""
    stalls: int = 0
    """A lease runs out although its process lives: stopped, or cut off from the store."""
    disconnects: int = 0
    """A consumer's connection is lost while it works."""
    copies: int = 0
    """A message is in its queue twice under one id: put back, and its ack lost."""
    lost_confirms: int = 0
    """What was published is published once more, under another id."""
    lost_replies: int = 0
    """A script ran, and who asked must ask again."""
    losses: int = 0
    """The store loses all that it has."""
    failovers: int = 0
    """The store loses its last writes."""
    retentions: int = 0
    """The record's time is over, while a delayed copy may still be on its way."""
    resubmits: int = 0
    """A client that got no answer asks again with its idempotency key."""
    acts: tuple[str, ...] = ()


class World(NamedTuple):
    left: Left
    workers: tuple[Work | None, ...]
    record: Record | None = None
    ready: tuple[Message, ...] = ()
    """What is in the queues and given to nobody, sorted; delay and work queues alike."""
    intake: str = "asked"
    """asked | published | answered | failed (the client knows nothing)."""
    payers: tuple[Payer, ...] = ()
    outbox: tuple[int, ...] = ()
    tokens: int = 0
    passed: tuple[Key, ...] = ()
    """The steps whose eta has come."""
    saved: tuple[Record | None, tuple[int, ...], Memory] | None = None
    """What the store falls back to when it loses its last writes."""
    memory: Memory = Memory()
    facts: Facts = Facts()


class Setting(NamedTuple):
    """One bounded configuration to search."""

    name: str
    left: Left
    workers: int = 2
    attempts: int = 2
    """The job's `maxRetries` + 1."""
    callbacks: int = 1
    """How often a callback is tried."""
    scheduled: bool = False
    """The job has an eta from the first."""
    expires: bool = False
    """The job may run out of time before any of its calls."""
    calls_back: bool = True
    one_result: bool = True
    """Whether a generation has one result whatever happens. After a kill and a loss of data, both between a publish and
    its ack, the call is repeated although its result is on its way, and may come to another."""
    weak: frozenset[str] = frozenset()
    """Rules that are left out: see weaknesses.py."""
