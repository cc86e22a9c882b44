"""What executor and callback tell of jobs on their way."""

from carom_common.domain.filters import REASONS, WAIT_REASONS
from carom_common.telemetry.metrics.buckets import ATTEMPTS, CALL, LATENESS, ROUND_TRIP, WAIT
from carom_common.telemetry.metrics.kinds import (
    ALL,
    CALLBACK,
    CONSUMERS,
    EXECUTOR,
    Counter,
    Gauge,
    Histogram,
    Labels,
    one_of,
)

_RETRIED = ("http-4xx", "http-5xx", "http-other", "timeout", "connect", "dns", "proxy", "tls", "protocol", "unsigned")
_STEPS = ("claim", "settle", "publish")

attempts = Counter(
    "carom_attempts_total",
    "Calls made, by outcome: completed, retried, exhausted, failed (not retried), or expired (none was made).",
    "exhausted, failed: a target is down or refuses; the event attempt names its host.",
    EXECUTOR,
    one_of("outcome", "completed", "retried", "exhausted", "failed", "expired"),
)
attempt_seconds = Histogram(
    "carom_attempt_duration_seconds",
    "One call to a target, from the request to the whole response.",
    "The target is slow; GET /api/jobs/{id}/attempts shows where the time of a call went.",
    EXECUTOR,
    CALL,
)
job_seconds = Histogram(
    "carom_job_duration_seconds",
    "Acceptance to final status, by status. Delays that the client asked for are part of it.",
    "See its parts: carom_queue_wait_seconds, carom_attempt_duration_seconds, carom_job_attempts.",
    EXECUTOR,
    WAIT,
    one_of("status", "completed", "failed", "expired"),
)
job_attempts = Histogram(
    "carom_job_attempts",
    "Attempts that a job had when it was final.",
    "Targets fail often: carom_retries_total says how.",
    EXECUTOR,
    ATTEMPTS,
)
retries = Counter(
    "carom_retries_total",
    "Retries of calls scheduled, by reason.",
    "http-5xx, timeout, connect: a target is in trouble, see carom_destination_retries_highest. http-4xx: the job is "
    "wrong, or its target asks for less (429). dns, tls: see its name and certificate.",
    EXECUTOR,
    one_of("reason", *_RETRIED, "other"),
)
job_failures = Counter(
    "carom_job_failures_total",
    "Jobs that ended without success, by the code of what went wrong last.",
    "As carom_retries_total. refused: the guard forbids the target. crash-loop: every process that begins it dies.",
    EXECUTOR,
    one_of("reason", *REASONS, "other"),
)
destination_retries = Gauge(
    "carom_destination_retries_highest",
    "Retries a second at the one destination that had the most of them, over the last 15 s, as this process saw it.",
    "They storm at one host: the event retries_storming names it. Give it a circuit or a rate with "
    "PUT /api/destinations/{host}, or pause its jobs, until it is well.",
    CONSUMERS,
)
lateness_seconds = Histogram(
    "carom_lateness_seconds",
    "Start of a delayed attempt after its nextAttemptAt. What was held on purpose is in it too.",
    "Executors are saturated (carom_slot_wait_seconds), the broker is slow, or a limit holds jobs (carom_holds_total).",
    EXECUTOR,
    LATENESS,
)
queue_wait_seconds = Histogram(
    "carom_queue_wait_seconds",
    "From when a message was due (its job accepted or final, or its time come) until its work began. `held` yes: "
    "something held it back on purpose meanwhile (carom_holds_total); of callbacks nobody knows that.",
    "held no: consumers are too few or stand still, see carom_slot_wait_seconds; else the broker is slow. "
    "held yes: a pause, a limit, or a host that is away.",
    CONSUMERS,
    WAIT,
    Labels(("kind", "held"), (("execute", "no"), ("execute", "yes"), ("callback", "no"))),
)
slot_wait_seconds = Histogram(
    "carom_slot_wait_seconds",
    "From a delivery's arrival in the process until its work began: the wait for a slot, or for its destination.",
    "Every slot is taken (carom_in_flight at carom_slots): add replicas, or raise the concurrency.",
    CONSUMERS,
    WAIT,
    one_of("kind", "execute", "callback"),
)
step_seconds = Histogram(
    "carom_step_duration_seconds",
    "The steps of a job's path inside Carom, waits for a broker or store that is away included. accept: publish "
    "(confirmed), record. execute, callback: claim, settle, publish (all that is due before the ack). The calls "
    "between claim and settle are carom_attempt_duration_seconds and carom_callback_duration_seconds.",
    "publish: the broker confirms slowly (carom_publish_confirm_seconds). Others: see carom_store_batch_seconds.",
    ALL,
    ROUND_TRIP,
    Labels(
        ("kind", "step"),
        (
            ("accept", "publish"),
            ("accept", "record"),
            *((kind, step) for kind in ("execute", "callback") for step in _STEPS),
        ),
    ),
)
callbacks = Counter(
    "carom_callbacks_total",
    "Calls back, by outcome: delivered, retried, exhausted, gone (410) or refused (egress guard).",
    "exhausted: a receiver is down, its dead letters wait for a redrive. refused: its address is not allowed.",
    CALLBACK,
    one_of("outcome", "delivered", "retried", "exhausted", "gone", "refused"),
)
callback_seconds = Histogram(
    "carom_callback_duration_seconds",
    "One call to a callback URL.",
    "A receiver is slow: it should answer first and work later.",
    CALLBACK,
    CALL,
)
callback_delivery_seconds = Histogram(
    "carom_callback_delivery_seconds",
    "From a job's final status until its callback was delivered, retries included. Not of attempts, nor of redriven "
    "callbacks.",
    "See carom_callbacks_total: retried means receivers fail; else see carom_queue_wait_seconds of kind callback.",
    CALLBACK,
    WAIT,
)
callbacks_given_up = Counter(
    "carom_callbacks_given_up_total",
    "Results that were not delivered, but exhausted or refused: the others of carom_callback_delivery_seconds.",
    "As carom_callbacks_total.",
    CALLBACK,
)
end_to_end_seconds = Histogram(
    "carom_end_to_end_seconds",
    "From a job's acceptance until its final callback was delivered: all that a client waits for.",
    "See its parts: carom_job_duration_seconds and carom_callback_delivery_seconds.",
    CALLBACK,
    WAIT,
)
egress_refusals = Counter(
    "carom_egress_refusals_total",
    "Calls that the guard refused: address (private, denied, a metadata service), rules (host or header by tenant).",
    "A client tries to reach what it must not, or a target moved to a private address: see CAROM_EGRESS_ALLOW and "
    "docs/operations/egress.md.",
    CONSUMERS,
    Labels(("kind", "by"), tuple((kind, by) for kind in ("execute", "callback") for by in ("address", "rules"))),
)
dead_letters = Counter(
    "carom_dead_letters_total",
    "Messages published to a dead queue.",
    "Look at GET /api/dead-letters, mend the cause, redrive.",
    CONSUMERS,
    one_of("queue", "carom.dead.execute", "carom.dead.callback", "other"),
)
parked = Counter(
    "carom_parked_total",
    "Messages nobody could read, kept in carom.parked with the reason.",
    "Above 0: look for a foreign or newer publisher, or a missing encryption key.",
    CONSUMERS,
)
dropped = Counter(
    "carom_deliveries_dropped_total",
    "Deliveries acknowledged without work: duplicate or stale copies that the fences caught.",
    "Normal after a crash. All the time: processes die, or leases run out (carom_leases_lost_total).",
    CONSUMERS,
    one_of(
        "reason",
        "settled by another copy",
        "next attempt began",
        "stale generation",
        "stale callback generation",
        "completed",
        "failed",
        "expired",
        "cancelled",
        "delivered",
        "other",
    ),
)
postponed = Counter(
    "carom_deliveries_postponed_total",
    "Deliveries put back into a delay bucket: leased elsewhere, early, or held (see carom_holds_total).",
    "leased: processes die in calls. held: far more of these than attempts means a limit is far too low.",
    CONSUMERS,
    one_of("reason", "leased", "early", "held"),
)
holds = Counter(
    "carom_holds_total",
    "Deliveries put back as they may not begin, by reason.",
    "paused: by an operator. concurrency, rate: by the limits of a destination. circuit-open: it is away. "
    "unproven-host: very many hosts nobody has heard from.",
    CONSUMERS,
    one_of("reason", *WAIT_REASONS, "other"),
)
leases_lost = Counter(
    "carom_leases_lost_total",
    "Leases that another delivery took over during a call.",
    "This process stood still for 10 s: see carom_event_loop_lag_seconds and its CPU limit.",
    CONSUMERS,
)
settles_refused = Counter(
    "carom_settles_refused_total",
    "Outcomes of calls that did not count, as another delivery had taken the attempt over: the call is repeated.",
    "As carom_leases_lost_total.",
    CONSUMERS,
)
in_flight = Gauge(
    "carom_in_flight",
    "Deliveries being worked on.",
    "At carom_slots all the time: add replicas, or raise the concurrency.",
    CONSUMERS,
)
slots = Gauge(
    "carom_slots",
    "How many deliveries this process works on at once (its concurrency).",
    "A setting; compare carom_in_flight with it.",
    CONSUMERS,
)
buffered = Gauge(
    "carom_buffered",
    "Deliveries that wait in the process for a free slot.",
    "As carom_in_flight.",
    CONSUMERS,
)
gate_waiting = Gauge(
    "carom_gate_waiting",
    "Deliveries that wait in the process for their destination, a second at most.",
    "Limits of destinations hinder: carom_holds_total says which.",
    CONSUMERS,
)
held = Gauge(
    "carom_held",
    "Deliveries held in the process for the last stretch before their time.",
    "Very many jobs are due at the same second; nothing is wrong.",
    CONSUMERS,
)
circuit_open = Gauge(
    "carom_circuit_open",
    "Destinations whose circuit is open, as this process knows them.",
    "They were not there several times in a row: the event circuit_opened names them.",
    CONSUMERS,
)
destinations = Gauge(
    "carom_destinations",
    "Destinations that this process remembers, 20,000 at most.",
    "At that bound hosts are forgotten, and have to prove themselves again.",
    CONSUMERS,
)
consumer_paused = Gauge(
    "carom_consumer_paused",
    "1 while everything is paused and nothing is consumed.",
    "GET /api/pauses says what was paused; resume when the reason is gone.",
    CONSUMERS,
)
