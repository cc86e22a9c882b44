"""What intake tells: who comes in, who does not, and what operators do."""

from carom_common.telemetry.metrics.buckets import ROUND_TRIP
from carom_common.telemetry.metrics.kinds import INTAKE, Counter, Gauge, Histogram, one_of

_STATUSES = ("400", "401", "403", "404", "405", "408", "409", "413", "415", "422", "429", "500", "503")

jobs_submitted = Counter(
    "carom_jobs_submitted_total",
    "Jobs answered with 202, those of batches one by one.",
    "Compare with carom_attempts_total: more in than out for long means a growing carom_backlog_jobs.",
    INTAKE,
)
submissions_replayed = Counter(
    "carom_submissions_replayed_total",
    "Submissions answered with what their Idempotency-Key had been answered before; nothing new was accepted.",
    "Clients repeat themselves: look at their timeouts, and at carom_submit_duration_seconds.",
    INTAKE,
)
submissions_refused = Counter(
    "carom_submissions_refused_total",
    "Submissions and other POSTs that were not accepted, by HTTP status; of batches also the jobs one by one. What "
    "never reached a route is in carom_requests_cut_off_total, whatever it was to be.",
    "5xx: broker or store is away or slow, see carom_broker_up and carom_store_up, or carom_backlog_jobs is at its "
    "limit. 4xx: a client does something wrong; the event request_refused has its path.",
    INTAKE,
    one_of("status", *_STATUSES, "other"),
)
auth_failures = Counter(
    "carom_auth_failures_total",
    "Requests not let in, by reason: missing, malformed, unknown, expired, address (outside the key's CIDRs), scope; "
    "of tokens also unknown-key and tenant (they name none).",
    "unknown: somebody guesses, or a key was deleted too early. expired: its client needs a new one.",
    INTAKE,
    one_of(
        "reason", "missing", "malformed", "unknown", "expired", "address", "scope", "unknown-key", "tenant", "other"
    ),
)
rate_limited = Counter(
    "carom_rate_limited_total",
    "Requests answered with 429, as their key makes too many.",
    "A client ignores Retry-After, or needs a higher rate for its key.",
    INTAKE,
)
quota_refusals = Counter(
    "carom_quota_refusals_total",
    "Submissions answered with 429, by the quota of the tenant that is used up: jobs, bytes.",
    "A tenant hands in more than its targets take: see its jobs, or raise CAROM_TENANT_JOBS or CAROM_TENANT_BYTES.",
    INTAKE,
    one_of("quota", "jobs", "bytes"),
)
requests_cut_off = Counter(
    "carom_requests_cut_off_total",
    "Requests that never reached a route, by HTTP status: 400 no HTTP, 408 too slow, 414 URL or 431 headers too large.",
    "Somebody speaks no HTTP, or holds connections open on purpose: see what is in front of intake.",
    INTAKE,
    one_of("status", "400", "408", "414", "431", "other"),
)
submit_seconds = Histogram(
    "carom_submit_duration_seconds",
    "Accepting a job or a batch: request read to answer, the broker's confirm and the store's record included.",
    "See carom_step_duration_seconds of kind accept: which of publish and record takes that long.",
    INTAKE,
    ROUND_TRIP,
)
listeners = Gauge(
    "carom_event_listeners",
    "Event streams and waiting submissions open at this replica.",
    "Near carom_event_listeners_limit: add replicas, or raise CAROM_MAX_STREAMS.",
    INTAKE,
)
listeners_limit = Gauge(
    "carom_event_listeners_limit",
    "How many may be open at this replica (CAROM_MAX_STREAMS).",
    "A setting; compare carom_event_listeners with it.",
    INTAKE,
)
acts = Counter(
    "carom_acts_total",
    "Acts on single jobs, one by one or in bulk: cancelled, retried, redriven (to the target, or only the callback), "
    "forgotten as dead letters.",
    "Somebody redrives in bulk: see the event campaign_started, and whether the targets can take it.",
    INTAKE,
    one_of("act", "cancel", "retry", "redrive-execute", "redrive-callback", "forget-execute", "forget-callback"),
)
backlog_jobs = Gauge(
    "carom_backlog_jobs",
    "Jobs that are not final, of all tenants; every replica of intake tells the same.",
    "Near carom_backlog_limit_jobs new jobs are refused: add executors, or see what holds them (carom_holds_total).",
    INTAKE,
)
backlog_limit = Gauge(
    "carom_backlog_limit_jobs",
    "How many jobs may be open before new ones are refused (CAROM_MAX_BACKLOG).",
    "A setting; compare carom_backlog_jobs with it.",
    INTAKE,
)
oldest_ready_age = Gauge(
    "carom_oldest_ready_age_seconds",
    "For how long the oldest job that is due has not been begun; every replica of intake tells about the same. Behind "
    "thousands that are not due or held it is the oldest that was found yet: each look, every 10 s, goes on in 2,000.",
    "Executors are too few or stand still, or targets are limited or away: see carom_in_flight, carom_holds_total.",
    INTAKE,
)
running_jobs = Gauge(
    "carom_running_jobs",
    "Calls to targets under way, of all tenants and executors; every replica of intake tells the same.",
    "Near the sum of carom_slots: add executors.",
    INTAKE,
)
held_jobs = Gauge(
    "carom_held_jobs",
    "Jobs that are due and held, as they may not begin, of all tenants; every replica of intake tells the same.",
    "carom_holds_total says why; GET /api/jobs?status=held lists them.",
    INTAKE,
)
dead_letter_jobs = Gauge(
    "carom_dead_letter_jobs",
    "Jobs in the dead letters of a kind, of all tenants; every replica of intake tells the same.",
    "Above 0: look at GET /api/dead-letters, mend the cause, redrive.",
    INTAKE,
    one_of("kind", "execute", "callback"),
)
owed_messages = Gauge(
    "carom_owed_messages",
    "Acts on jobs that are recorded, and whose message is not known to be out; every replica of intake tells the same.",
    "Above 0 for long: the broker takes nothing, or no replica leads the duty owed (carom_duty_led).",
    INTAKE,
)
fsck_unrepaired = Gauge(
    "carom_fsck_unrepaired",
    "What the last run of carom-fsck found and did not repair; every replica of intake tells the same.",
    "Its report names the jobs: run it with --repair, or see why it could not.",
    INTAKE,
)
fsck_completed = Gauge(
    "carom_fsck_completed_timestamp_seconds",
    "When carom-fsck last looked at all that it was to, in Unix seconds; every replica of intake tells the same.",
    "Long ago: its runs fail, or consumers do not answer it; its report says why.",
    INTAKE,
)
pauses = Gauge(
    "carom_pauses",
    "Pauses in force, as this replica knows them.",
    "Somebody paused jobs: GET /api/pauses says what; resume when the reason is gone.",
    INTAKE,
)
duty_led = Gauge(
    "carom_duty_led",
    "1 where this replica does a background duty; one of all replicas does.",
    "A sum of 0 for a duty means nobody does it: the store is away, or every replica fails.",
    INTAKE,
    one_of("duty", "sweep", "owed", "campaigns"),
)
duty_failures = Counter(
    "carom_duty_failures_total",
    "Background duties that failed, and are tried again.",
    "See the event duty_failed: the store is away, or it is a defect.",
    INTAKE,
    one_of("duty", "sweep", "owed", "campaigns", "other"),
)
key_expiry = Gauge(
    "carom_api_key_expiry_timestamp_seconds",
    "When the next of the API keys that are still good expires, in Unix time; +Inf where none does.",
    "When it is near: make a new key, give it to the client, delete the old one (docs/operations/callers.md).",
    INTAKE,
)
oidc_keys_at = Gauge(
    "carom_oidc_keys_fetched_timestamp_seconds",
    "When the public keys of the identity provider were fetched last, in Unix time; 0 without one.",
    "Hours ago: the provider cannot be reached (event oidc_keys_away). After a day no token is let in.",
    INTAKE,
)
