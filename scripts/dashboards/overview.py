"""How well Carom does, and what is stuck: the page to begin with."""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat

from dashboards.board import Query, board, figure, graph, ours, quantiles, rate, row, shared, total

_BUDGET = f"1 - max by (slo) ({ours('carom:slo_burn:rate3d')})"


def overview() -> Dashboard:
    """Golden signals, backlog, dead letters, and what waits and why."""
    made = board(
        "overview",
        "overview",
        "What comes in, what is called, what is called back, and what is stuck. Begin here, then see a job's path.",
    )
    for panel in (_alerts, _budget, _accepted, _backlog, _oldest, _dead):
        made = made.with_panel(panel())
    made = made.with_row(row("Traffic and errors"))
    made = made.with_panel(
        graph(
            "Jobs",
            rate("carom_jobs_submitted_total", name="accepted"),
            rate("carom_submissions_refused_total", by="status", name="refused {{status}}"),
            unit="reqps",
            says="Jobs accepted, and submissions refused by HTTP status. 5xx: see Connections below, then the broker "
            "and "
            "the store. 4xx: a client does something wrong, the event request_refused names the path.",
        )
    )
    made = made.with_panel(graph("Calls by outcome", rate("carom_attempts_total", by="outcome"), unit="reqps"))
    made = made.with_panel(graph("Callbacks by outcome", rate("carom_callbacks_total", by="outcome"), unit="reqps"))
    made = made.with_panel(graph("Failed jobs by reason", rate("carom_job_failures_total", by="reason"), unit="reqps"))
    made = made.with_panel(graph("Retries by reason", rate("carom_retries_total", by="reason"), unit="reqps"))
    made = made.with_panel(
        graph(
            "Callers that are turned away",
            rate("carom_auth_failures_total", by="reason", name="not let in: {{reason}}"),
            rate("carom_rate_limited_total", name="too many requests"),
            rate("carom_quota_refusals_total", by="quota", name="quota: {{quota}}"),
            rate("carom_requests_cut_off_total", by="status", name="no request: {{status}}"),
            rate("carom_egress_refusals_total", by="kind, by", name="guard: {{kind}} by {{by}}"),
            unit="reqps",
            says="unknown high: somebody guesses keys. too many, quota: a tenant needs more, or is out of hand. guard: "
            "a call was forbidden, see docs/operations/egress.md. GET /api/stats tells the shares of tenants.",
        )
    )
    made = made.with_row(row("Latency"))
    made = made.with_panel(
        graph("Accepting a job", quantiles("carom_submit_duration_seconds"), unit="s", levels=(0.25, 1))
    )
    made = made.with_panel(
        graph("A job, accepted to final", quantiles("carom_job_duration_seconds", by="status"), unit="s")
    )
    made = made.with_panel(graph("A job, accepted to called back", quantiles("carom_end_to_end_seconds"), unit="s"))
    made = made.with_row(row("Backlog: what waits, and why"))
    made = made.with_panel(
        graph(
            "Open jobs",
            shared("carom_backlog_jobs", name="open"),
            shared("carom_held_jobs", name="held"),
            shared("carom_running_jobs", name="running"),
            shared("carom_owed_messages", name="owed by acts"),
            unit="short",
            says="Jobs that are not final. Growing while running is at its bound: add executors. held: see the next "
            "panel. owed for long: the broker takes nothing. GET /api/jobs?status=held lists what is held.",
        )
    )
    made = made.with_panel(
        graph(
            "Why deliveries are held",
            rate("carom_holds_total", by="reason"),
            unit="reqps",
            says="paused: GET /api/pauses says by whom. concurrency, rate: limits of a destination, GET "
            "/api/destinations. "
            "circuit-open: a destination is away, the event circuit_opened names it. unproven-host: very many hosts "
            "that "
            "nobody heard from. GET /api/jobs?waitReason=<reason> lists the jobs.",
        )
    )
    made = made.with_panel(
        graph(
            "Age of the oldest job that is due",
            shared("carom_oldest_ready_age_seconds", name="oldest"),
            unit="s",
            levels=(60, 300),
        )
    )
    made = made.with_panel(
        graph(
            "Circuits and pauses",
            Query(f"max ({ours('carom_circuit_open')})", "destinations with an open circuit"),
            Query(f"max ({ours('carom_pauses')})", "pauses"),
            Query(f"max ({ours('carom_consumer_paused')})", "everything paused"),
            Query(f"max ({ours('carom_destination_retries_highest')})", "retries a second at the worst destination"),
            unit="short",
            says="What keeps jobs from beginning. An open circuit closes by itself when the destination answers; a "
            "pause "
            "lasts until somebody resumes it. Retries high: they storm at one host, the event retries_storming names "
            "it.",
        )
    )
    made = made.with_panel(
        graph(
            "Dead letters",
            shared("carom_dead_letter_jobs", by="kind", name="{{kind}}"),
            unit="short",
            levels=(1, 1000),
        )
    )
    made = made.with_panel(
        graph(
            "New dead letters and parked messages, in an hour",
            Query(f"sum by (queue) (increase({ours('carom_dead_letters_total')}[1h]))", "{{queue}}"),
            Query(f"sum (increase({ours('carom_parked_total')}[1h]))", "carom.parked"),
            unit="short",
            says="Dead letters: GET /api/dead-letters has them; mend the cause, redrive. Parked: messages that nobody "
            "can read; the event message_parked has the reason.",
        )
    )
    made = made.with_panel(graph("Acts on jobs", rate("carom_acts_total", by="act"), unit="ops"))
    made = made.with_row(row("Saturation"))
    made = made.with_panel(
        graph(
            "Slots in use",
            Query(f"sum by (job) ({ours('carom_in_flight')}) / sum by (job) ({ours('carom_slots')})", "{{job}}"),
            unit="percentunit",
            levels=(0.8, 0.95),
            says="Deliveries worked on, as a share of what the pods may work on at once. Near 100 %: add replicas, or "
            "raise executor.config.executorConcurrency.",
        )
    )
    made = made.with_panel(
        graph(
            "Waiting inside the pods",
            total("carom_buffered", by="job", name="for a slot, {{job}}"),
            total("carom_gate_waiting", by="job", name="for their destination, {{job}}"),
            total("carom_held", by="job", name="for their time, {{job}}"),
            unit="short",
            says="Deliveries that a pod has and has not begun. For a slot: add replicas. For their destination: a "
            "limit "
            "hinders, see why deliveries are held. For their time: nothing is wrong.",
        )
    )
    made = made.with_panel(
        graph(
            "Lag of the event loops",
            quantiles("carom_event_loop_lag_seconds", by="job", exemplars=False),
            unit="s",
            levels=(0.1, 1),
        )
    )
    made = made.with_row(row("Connections"))
    made = made.with_panel(
        graph(
            "Pods without broker or store",
            Query(f"sum by (job) ({ours('carom_broker_up')} == bool 0)", "no broker, {{job}}"),
            Query(f"sum by (job) ({ours('carom_consumer_up')} == bool 0)", "not consuming, {{job}}"),
            Query(f"sum by (job) ({ours('carom_store_up')} == bool 0)", "no store, {{job}}"),
            unit="short",
            levels=(1, 1),
            says="Connections that are down. The broker: it is away, or has a memory or disk alarm. Not consuming "
            "with a broker: a queue is gone. The store: it is away, full or read-only. /readyz?verbose of the pod says "
            "which; see the dashboard of the parts.",
        )
    )
    made = made.with_panel(
        graph("Steps that are tried again", rate("carom_publish_failures_total", by="reason"), unit="reqps")
    )
    return made.with_panel(
        graph(
            "Repeated and postponed deliveries",
            rate("carom_deliveries_dropped_total", by="reason", name="dropped: {{reason}}"),
            rate("carom_deliveries_postponed_total", by="reason", name="postponed: {{reason}}"),
            rate("carom_leases_lost_total", name="lease lost"),
            rate("carom_settles_refused_total", name="settle refused"),
            unit="reqps",
            says="Copies that the fences caught, and messages put back for later. Normal after a crash or rollout. All "
            "the time: processes die or stand still, see the lag of the event loops and restarts.",
        )
    )


def _alerts() -> Stat:
    return figure(
        "Alerts",
        Query('count (ALERTS{alertname=~"Carom.+", alertstate="firing"}) or vector(0)', "firing"),
        unit="short",
        levels=(1, 3),
        says="Alerts of Carom that fire. Each has a runbook in docs/operations/runbooks.",
    )


def _budget() -> Stat:
    return figure(
        "Error budget left, 3 days",
        Query(_BUDGET, "{{slo}}"),
        unit="percentunit",
        levels=(0.5, 0.1),
        width=8,
        says="What is left of the errors that the objectives allow, over three days. Below 0: stop risky changes and "
        "mend what burns it. docs/operations/slos.md says what counts.",
    )


def _accepted() -> Stat:
    return figure("Jobs accepted", rate("carom_jobs_submitted_total"), unit="reqps", width=3)


def _backlog() -> Stat:
    share = f"max ({ours('carom_backlog_jobs')} / {ours('carom_backlog_limit_jobs')})"
    return figure(
        "Backlog, of its limit",
        Query(share),
        unit="percentunit",
        levels=(0.5, 0.8),
        width=3,
        says="Open jobs as a share of CAROM_MAX_BACKLOG, above which new ones are refused. High: add executors, or see "
        "what holds the jobs.",
    )


def _oldest() -> Stat:
    return figure("Oldest job due", shared("carom_oldest_ready_age_seconds"), unit="s", levels=(60, 300), width=3)


def _dead() -> Stat:
    return figure(
        "Dead letters",
        Query(f"sum (max by (namespace, kind) ({ours('carom_dead_letter_jobs')}))"),
        unit="short",
        levels=(1, 1000),
        width=3,
    )
