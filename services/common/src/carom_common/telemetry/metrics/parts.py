"""What every process tells of itself, of the broker and of the store. Both have exporters of their own for the rest."""

import platform

from carom_common import __version__
from carom_common.telemetry.metrics.buckets import BATCH, LAG, ROUND_TRIP
from carom_common.telemetry.metrics.kinds import ALL, CONSUMERS, Counter, Gauge, Histogram, Labels, one_of

build_info = Gauge(
    "carom_build_info",
    "Always 1; the labels say which version runs, on which Python.",
    "Several versions for long: a rollout is stuck.",
    ALL,
    Labels(("version", "python"), ((__version__, platform.python_version()),)),
)
broker_up = Gauge(
    "carom_broker_up",
    "1 while the connection to RabbitMQ that publishes is there, and the broker takes messages.",
    "0: RabbitMQ is away, refuses us, or has a memory or disk alarm; /readyz?verbose says which.",
    ALL,
)
consumer_up = Gauge(
    "carom_consumer_up",
    "1 while every queue is consumed, or would be were it not paused.",
    "0: as carom_broker_up; or a queue is gone or has moved, which mends itself.",
    CONSUMERS,
)
broker_disconnects = Counter(
    "carom_broker_disconnects_total",
    "Connections to RabbitMQ that ended, or could not be made: publish, consume.",
    "RabbitMQ restarts, or something cuts connections: events publisher_disconnected, consumer_disconnected.",
    ALL,
    one_of("connection", "publish", "consume"),
)
publish_confirm_seconds = Histogram(
    "carom_publish_confirm_seconds",
    "From a publish until the broker has confirmed it: one message, written to a majority of its replicas.",
    "RabbitMQ's disks or network are slow: see its own dashboard.",
    ALL,
    ROUND_TRIP,
)
publishes_unconfirmed = Gauge(
    "carom_publishes_unconfirmed",
    "Messages sent that the broker has not confirmed yet.",
    "As carom_publish_confirm_seconds.",
    ALL,
)
publish_failures = Counter(
    "carom_publish_failures_total",
    "Steps that failed and are tried again: publishes by error, and `store` for a Redis that did not answer.",
    "The broker or the store is in trouble: carom_broker_up, carom_store_up.",
    CONSUMERS,
    one_of("reason", "BrokerUnavailable", "PublishUnconfirmed", "Unroutable", "store", "other"),
)
store_up = Gauge(
    "carom_store_up",
    "1 while Redis answers and takes writes.",
    "0: it is away, full, read-only, or refuses us; the events store_away and store_refused say why.",
    ALL,
)
store_batch_commands = Histogram(
    "carom_store_batch_commands",
    "Commands in one round trip to Redis.",
    "Many is good: more work for each round trip. At 64 all the time the store is the bottleneck.",
    ALL,
    BATCH,
)
store_batch_seconds = Histogram(
    "carom_store_batch_seconds",
    "One round trip to Redis.",
    "Redis is slow: its CPU, its disk, or its network; see its own dashboard.",
    ALL,
    ROUND_TRIP,
)
store_failures = Counter(
    "carom_store_failures_total",
    "Round trips to Redis that failed: away (no answer), refused (an error, such as out of memory or read-only).",
    "away: it restarts or fails over. refused: it is full, or its user may not.",
    ALL,
    one_of("reason", "away", "refused"),
)
store_emptied = Counter(
    "carom_store_emptied_total",
    "How often Redis was found without the mark that was in it before: it came back empty, or as another one.",
    "History, cancellations, pauses and keys made through the API are lost, work is not: docs/operations/backup.md.",
    ALL,
)
unsealable = Counter(
    "carom_unsealable_total",
    "Records that could not be opened: their encryption key is gone, or they were tampered with. Messages are parked.",
    "Put the key back into CAROM_ENCRYPTION_KEYS; the events record_sealed and message_parked name jobs.",
    ALL,
)
encryption = Gauge(
    "carom_encryption_enabled",
    "1 where jobs and responses are encrypted in RabbitMQ and Redis.",
    "0: they are kept in clear, see CAROM_ENCRYPTION_KEYS.",
    ALL,
)
certificate_expiry = Gauge(
    "carom_certificate_expiry_timestamp_seconds",
    "When the first of the mounted certificates of a use expires, in Unix time; +Inf where none is mounted. ca: "
    "trusted, client: shown; egress: both, of all hosts in CAROM_EGRESS_TLS.",
    "When it is near: renew the certificate; its file is read again, no restart is needed.",
    ALL,
    one_of("use", "broker-ca", "broker-client", "store-ca", "store-client", "egress"),
)
file_rejected = Gauge(
    "carom_mounted_file_rejected",
    "1 while a mounted file is bad or gone since it changed: keys (of the API), signing-keys. The one before holds.",
    "Mend the file: a restart would fail. The events keys_rejected and signing_keys_rejected say what is wrong.",
    ALL,
    one_of("file", "keys", "signing-keys"),
)
loop_lag_seconds = Histogram(
    "carom_event_loop_lag_seconds",
    "How much later than asked for the event loop woke a sleeper, four times a second.",
    "The process is short of CPU, or works too long in one go: see its limit and throttling.",
    ALL,
    LAG,
)
loop_progress = Gauge(
    "carom_loop_progress_timestamp_seconds",
    "When a loop that must never stand still last went round, in Unix time: event-loop, leases (of consumers).",
    "20 s ago: /livez fails and the kubelet restarts the pod. Again and again: a defect, or far too little CPU.",
    ALL,
    one_of("loop", "event-loop", "leases"),
)
draining = Gauge(
    "carom_draining",
    "1 after SIGTERM, until the process ends.",
    "For long: calls take as long as CAROM_SHUTDOWN_TIMEOUT lets them.",
    ALL,
)
defects = Counter(
    "carom_defects_total",
    "Exceptions that nobody expected: in a step of a delivery, a request, or a background duty.",
    "Above 0: the log has the stack (step_failed, request_failed, duty_failed). Please report it.",
    ALL,
    one_of("where", "step", "request", "duty"),
)
log_left_out = Counter(
    "carom_log_events_left_out_total",
    "Log events of ordinary successes that CAROM_LOG_SAMPLE left out.",
    "As wanted: 1 minus CAROM_LOG_SAMPLE of them.",
    ALL,
)
trace_spans_dropped = Counter(
    "carom_trace_spans_dropped_total",
    "Spans that no collector got, by reason: queue-full, not-exported.",
    "queue-full: raise OTEL_BSP_MAX_QUEUE_SIZE, or sample less. not-exported: the collector is away, or refuses them.",
    ALL,
    one_of("reason", "queue-full", "not-exported"),
)
