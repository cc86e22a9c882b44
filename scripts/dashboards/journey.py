"""The path of a job, hop by hop: where its time goes."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import Query, board, graph, mean, quantiles, rate, row

_STEP = "carom_step_duration_seconds"
_PUNCTUAL = rate("carom_queue_wait_seconds_bucket", by="kind", where='held="no", le="1.0"')
_BEGUN = rate("carom_queue_wait_seconds_count", by="kind", where='held="no"')


def journey() -> Dashboard:
    """Each hop's latency, retries, lateness."""
    made = board(
        "path",
        "a job's path",
        "Accept, wait, claim, call, settle, publish, call back: how long each hop takes, and what is repeated. "
        "Points on "
        "the lines are traces: click one.",
    )
    made = made.with_row(row("Where the time goes"))
    made = made.with_panel(
        graph(
            "From accepted to final: average of each hop",
            mean("carom_submit_duration_seconds", name="accept"),
            mean("carom_queue_wait_seconds", 'kind="execute", held="no"', "wait in the queue"),
            mean(_STEP, 'kind="execute", step="claim"', "claim"),
            mean("carom_attempt_duration_seconds", name="call the target"),
            mean(_STEP, 'kind="execute", step="settle"', "settle"),
            mean(_STEP, 'kind="execute", step="publish"', "publish the next step"),
            unit="s",
            stacked=True,
            width=12,
            says="The thickest layer is where to look: its own panel below says what to do. Only calls are not "
            "Carom's own.",
        )
    )
    made = made.with_panel(
        graph(
            "From final to called back: average of each hop",
            mean("carom_queue_wait_seconds", 'kind="callback", held="no"', "wait in the queue"),
            mean(_STEP, 'kind="callback", step="claim"', "claim"),
            mean("carom_callback_duration_seconds", name="call back"),
            mean(_STEP, 'kind="callback", step="settle"', "settle"),
            unit="s",
            stacked=True,
            width=12,
            says="The thickest layer is where to look: its own panel below says what to do. Only calls are not "
            "Carom's own.",
        )
    )
    made = made.with_row(row("Accept"))
    made = made.with_panel(
        graph("Accepting a job", quantiles("carom_submit_duration_seconds"), unit="s", levels=(0.25, 1))
    )
    made = made.with_panel(
        graph(
            "Steps of accepting",
            quantiles(_STEP, by="step", where='kind="accept"', exemplars=False),
            unit="s",
            says="publish: until RabbitMQ has confirmed the message. record: until Redis has the job. The slower one "
            "is "
            "the part to look at.",
        )
    )
    made = made.with_panel(
        graph(
            "Jobs, and answers that were given before",
            rate("carom_jobs_submitted_total", name="accepted"),
            rate("carom_submissions_replayed_total", name="replayed"),
            unit="reqps",
            says="Replayed high: clients repeat requests with the same Idempotency-Key. Look at their timeouts.",
        )
    )
    made = made.with_row(row("Wait"))
    made = made.with_panel(
        graph(
            "Wait until work begins",
            quantiles("carom_queue_wait_seconds", by="kind", where='held="no"'),
            unit="s",
            levels=(1, 60),
            says="From due to begun, of what nothing holds on purpose. High: consumers are too few or stand still (see "
            "slots), else the broker is slow.",
        )
    )
    made = made.with_panel(
        graph(
            "Wait of what was held on purpose",
            quantiles("carom_queue_wait_seconds", by="kind", where='held="yes"', exemplars=False),
            unit="s",
            says="A pause, a limit or a destination that is away: the overview says why deliveries are held.",
        )
    )
    made = made.with_panel(
        graph("Wait for a slot in the pod", quantiles("carom_slot_wait_seconds", by="kind", exemplars=False), unit="s")
    )
    made = made.with_panel(graph("Lateness of retries", quantiles("carom_lateness_seconds"), unit="s", levels=(1, 5)))
    made = made.with_panel(
        graph(
            "Begun within a second of their time",
            Query(f"{_PUNCTUAL.expr} / {_BEGUN.expr}", "{{kind}}"),
            unit="percentunit",
            says="What the objective of on-time execution counts. Falling: executors are saturated or the broker is "
            "slow. "
            "Add executors, or see RabbitMQ's figures on the dashboard of the parts.",
        )
    )
    made = made.with_panel(
        graph("Deliveries put back", rate("carom_deliveries_postponed_total", by="reason"), unit="reqps")
    )
    made = made.with_row(row("Execute"))
    made = made.with_panel(graph("Calling a target", quantiles("carom_attempt_duration_seconds"), unit="s"))
    made = made.with_panel(
        graph(
            "Claim, settle, publish",
            quantiles(_STEP, by="step", where='kind="execute"', exemplars=False),
            unit="s",
            levels=(0.25, 1),
        )
    )
    made = made.with_panel(
        graph(
            "Confirms of the broker",
            quantiles("carom_publish_confirm_seconds", by="job", exemplars=False),
            unit="s",
            levels=(0.25, 1),
        )
    )
    made = made.with_panel(graph("Calls by outcome", rate("carom_attempts_total", by="outcome"), unit="reqps"))
    made = made.with_panel(graph("Retries by reason", rate("carom_retries_total", by="reason"), unit="reqps"))
    made = made.with_panel(graph("Attempts of a job", quantiles("carom_job_attempts", exemplars=False), unit="short"))
    made = made.with_row(row("Call back"))
    made = made.with_panel(graph("Calling back", quantiles("carom_callback_duration_seconds"), unit="s"))
    made = made.with_panel(
        graph(
            "Claim, settle, publish of callbacks",
            quantiles(_STEP, by="step", where='kind="callback"', exemplars=False),
            unit="s",
            levels=(0.25, 1),
        )
    )
    made = made.with_panel(graph("Callbacks by outcome", rate("carom_callbacks_total", by="outcome"), unit="reqps"))
    made = made.with_panel(
        graph("Final to called back", quantiles("carom_callback_delivery_seconds"), unit="s", levels=(60, 3600))
    )
    made = made.with_panel(graph("Accepted to called back", quantiles("carom_end_to_end_seconds"), unit="s"))
    return made.with_panel(
        graph(
            "Copies that the fences caught",
            rate("carom_deliveries_dropped_total", by="reason", name="dropped: {{reason}}"),
            rate("carom_settles_refused_total", name="settle refused"),
            rate("carom_leases_lost_total", name="lease lost"),
            unit="reqps",
        )
    )
