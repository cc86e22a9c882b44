"""Exchanges, queues and routing keys. Everything that publishes or consumes takes its names from here.

The arguments are the same on RabbitMQ 3.10 and 4.x: a changed argument fails with PRECONDITION_FAILED, so whatever an
operator may tune later is a policy.
"""

from dataclasses import dataclass, field

from carom_common.domain.buckets import BUCKETS

WORK, DELAY, DEAD = "carom.work", "carom.delay", "carom.dead"
EXCHANGES = (WORK, DELAY, DEAD)
PRIORITIES = ("high", "normal", "low")
EXECUTE_QUEUES = {priority: f"carom.execute.{priority}" for priority in PRIORITIES}
HELD_EXECUTE_QUEUE = "carom.execute.held"
"""Where what was held looks again whether it may begin, and what may have to wait comes in: apart from the rest."""
CALLBACK_QUEUE = "carom.callback"
CRASHED_EXECUTE_QUEUE, CRASHED_CALLBACK_QUEUE = "carom.crashed.execute", "carom.crashed.callback"
DEAD_EXECUTE_QUEUE, DEAD_CALLBACK_QUEUE, PARKED_QUEUE = "carom.dead.execute", "carom.dead.callback", "carom.parked"

CRASHED_QUEUES = frozenset({CRASHED_EXECUTE_QUEUE, CRASHED_CALLBACK_QUEUE})
CALLBACK_KEY = "callback.normal"
HELD_EXECUTE_KEY = "execute.held"
DEAD_EXECUTE_KEY, DEAD_CALLBACK_KEY = "execute.exhausted", "callback.exhausted"
DEAD_QUEUES = {DEAD_EXECUTE_KEY: DEAD_EXECUTE_QUEUE, DEAD_CALLBACK_KEY: DEAD_CALLBACK_QUEUE}
BARRIER = "barrier:"
"""Begins the message id of what `carom-fsck` sends through a work queue to see that all before it was delivered."""
DELIVERY_LIMIT = 1000
"""Deliveries that end without an ack before a message counts as a crash loop. -1 would mean "one" before 4.0."""


def execute_key(priority: str = "normal") -> str:
    return f"execute.{priority}"


def lane_key(priority: str, *, proven: bool) -> str:
    """The key of a job's message, by whether its host is known to answer: only normal jobs may have to step aside."""
    return execute_key(priority) if proven or priority != "normal" else HELD_EXECUTE_KEY


def delayed(routing_key: str, bucket_ms: int) -> str:
    """The key that brings a message back to `routing_key` after the bucket's time, when published to `carom.delay`."""
    kind, priority = routing_key.split(".")[:2]
    return f"{kind}.{priority}.{bucket_ms}"


def parked_key(service: str) -> str:
    return f"parked.{service}"


@dataclass(frozen=True)
class Queue:
    """A durable quorum queue and the one binding that feeds it."""

    name: str
    exchange: str
    binding: str
    arguments: dict[str, str | int] = field(default_factory=dict)


def _at_least_once(exchange: str, **more: str | int) -> dict[str, str | int]:
    # At-least-once dead-lettering silently becomes at-most-once without reject-publish.
    return {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        **more,
    }


def _work_queue(name: str, binding: str, kind: str) -> Queue:
    limits: dict[str, str | int] = {"x-delivery-limit": DELIVERY_LIMIT, "x-dead-letter-routing-key": f"crashed.{kind}"}
    return Queue(name, WORK, binding, _at_least_once(DEAD, **limits))


def delay_queue(bucket_ms: int) -> Queue:
    arguments = _at_least_once(WORK, **{"x-message-ttl": bucket_ms})
    return Queue(f"carom.delay.{bucket_ms}", DELAY, f"*.*.{bucket_ms}", arguments)


QUEUES: tuple[Queue, ...] = (
    # What receives dead letters comes first: at-least-once dead-lettering retries a missing route only after minutes.
    Queue(DEAD_EXECUTE_QUEUE, DEAD, "execute.#"),
    Queue(DEAD_CALLBACK_QUEUE, DEAD, "callback.#"),
    Queue(PARKED_QUEUE, DEAD, "parked.#"),
    Queue(CRASHED_EXECUTE_QUEUE, DEAD, "crashed.execute", {"x-delivery-limit": 1_000_000}),
    Queue(CRASHED_CALLBACK_QUEUE, DEAD, "crashed.callback", {"x-delivery-limit": 1_000_000}),
    *(_work_queue(name, f"execute.{priority}.#", "execute") for priority, name in EXECUTE_QUEUES.items()),
    _work_queue(HELD_EXECUTE_QUEUE, f"{HELD_EXECUTE_KEY}.#", "execute"),
    _work_queue(CALLBACK_QUEUE, "callback.#", "callback"),
    *(delay_queue(bucket) for bucket in BUCKETS),
)
