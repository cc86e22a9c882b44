"""Every metric, its meaning, and what to do when it is high. docs/reference/metrics.md is checked against this module.

Labels are bounded: no URL, host, routing key or id. Hot paths keep the children of `labels()`.
"""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_LONG_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200, 43_200, 172_800)

jobs_submitted = Counter("carom_jobs_submitted_total", "Jobs answered with 202.")
submissions_refused = Counter(
    "carom_submissions_refused_total",
    "Submissions not accepted, by HTTP status. 503: broker or store away.",
    ["status"],
)
auth_failures = Counter(
    "carom_auth_failures_total",
    "Requests not let in, by reason: missing, malformed, unknown, expired, address (outside the key's CIDRs), scope; "
    "of tokens also unknown-key and tenant (they name none). "
    "unknown high: somebody guesses.",
    ["reason"],
)
rate_limited = Counter("carom_rate_limited_total", "Requests answered with 429, as their key makes too many.")
quota_refusals = Counter(
    "carom_quota_refusals_total",
    "Submissions answered with 429, by the quota of the tenant that is used up: jobs, bytes.",
    ["quota"],
)
requests_cut_off = Counter(
    "carom_requests_cut_off_total",
    "Requests that never reached a route, by HTTP status: 400 no HTTP, 408 too slow, 414 URL or 431 headers too large.",
    ["status"],
)
submit_seconds = Histogram("carom_submit_duration_seconds", "Accepting a job: request read to 202.", buckets=_SECONDS)
attempts = Counter(
    "carom_attempts_total",
    "Calls made, by outcome: completed, retried, exhausted or failed (not retried). exhausted high: a target is down.",
    ["outcome"],
)
attempt_seconds = Histogram("carom_attempt_duration_seconds", "One call to a target.", buckets=_SECONDS)
job_seconds = Histogram(
    "carom_job_duration_seconds", "Acceptance to final status, by status.", ["status"], buckets=_LONG_SECONDS
)
retries = Counter(
    "carom_retries_total",
    "Retries scheduled, by reason: 4xx, 5xx, other, timeout, connect, dns, tls, protocol.",
    ["reason"],
)
lateness_seconds = Histogram(
    "carom_lateness_seconds",
    "Start of a delayed attempt after its nextAttemptAt. High: executors are saturated or the broker is slow.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 5, 30, 300),
)
callbacks = Counter(
    "carom_callbacks_total",
    "Calls back, by outcome: delivered, retried, exhausted, gone (410) or refused (egress guard).",
    ["outcome"],
)
callback_seconds = Histogram("carom_callback_duration_seconds", "One call to a callback URL.", buckets=_SECONDS)
dead_letters = Counter(
    "carom_dead_letters_total", "Messages published to a dead queue: look at it, mend the cause, redrive.", ["queue"]
)
parked = Counter("carom_parked_total", "Messages nobody could read, kept in carom.parked with the reason.")
dropped = Counter(
    "carom_deliveries_dropped_total",
    "Deliveries acknowledged without work, by reason: duplicate or stale copies that the fences caught.",
    ["reason"],
)
postponed = Counter(
    "carom_deliveries_postponed_total",
    "Deliveries put back into a delay bucket: leased elsewhere, early, or held (see carom_holds_total).",
    ["reason"],
)
holds = Counter(
    "carom_holds_total",
    "Deliveries put back as they may not begin, by reason: paused, concurrency, rate, circuit-open, unproven-host.",
    ["reason"],
)
leases_lost = Counter("carom_leases_lost_total", "Leases that another delivery took over: this process was too slow.")
publish_failures = Counter(
    "carom_publish_failures_total",
    "Publishes that failed and are tried again, by reason: broker or store trouble.",
    ["reason"],
)
in_flight = Gauge("carom_in_flight", "Deliveries being worked on.")
buffered = Gauge("carom_buffered", "Deliveries that wait in the process for a free slot.")
gate_waiting = Gauge(
    "carom_gate_waiting", "Deliveries that wait in the process for their destination, a second at most."
)
circuit_open = Gauge("carom_circuit_open", "Destinations whose circuit is open, as this process knows them.")
held = Gauge("carom_held", "Deliveries held in the process for the last stretch before their time.")
dead_letter_jobs = Gauge(
    "carom_dead_letter_jobs",
    "Jobs in the dead letters of a kind, of all tenants; every replica of intake tells the same. Above 0: look at it.",
    ["kind"],
)
backlog_jobs = Gauge(
    "carom_backlog_jobs",
    "Jobs that are not final, of all tenants; every replica of intake tells the same. "
    "Near CAROM_MAX_BACKLOG: add executors, or new jobs are refused.",
)
oldest_ready_age = Gauge(
    "carom_oldest_ready_age_seconds",
    "For how long the oldest job that is due has not been begun; every replica of intake tells the same. "
    "High: executors are too few or stand still.",
)
listeners = Gauge(
    "carom_event_listeners", "Event streams and waiting submissions open. Near CAROM_MAX_STREAMS: add replicas."
)
acts = Counter(
    "carom_acts_total",
    "Jobs cancelled, retried, redriven and forgotten as dead letters, one by one or in bulk, by act.",
    ["act"],
)
trace_spans_dropped = Counter(
    "carom_trace_spans_dropped_total",
    "Spans that no collector got, by reason: queue-full (it is slow: OTEL_BSP_MAX_QUEUE_SIZE, or sample less), "
    "not-exported (it is away, or refuses them).",
    ["reason"],
)
