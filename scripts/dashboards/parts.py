"""What Carom stands on: RabbitMQ, Redis, and the pods."""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries

from dashboards.board import Query, board, figure, graph, other_namespaces, ours, quantiles, rate, row

_RABBIT = 'namespace=~"$rabbitmq"'
_WORK = f'{_RABBIT}, queue=~"carom[.](execute|callback).*"'
_KEPT = f'{_RABBIT}, queue=~"carom[.](dead|parked|crashed).*"'
_READY = "sum by (queue) (rabbitmq_detailed_queue_messages_ready"
_REDIS = 'namespace=~"$redis"'
_CONTAINERS = 'namespace=~"$namespace", pod=~".*(intake|executor|callback).*", container=~"intake|executor|callback"'
_DEPLOYMENTS = 'namespace=~"$namespace", deployment=~".*(intake|executor|callback)"'
_PER_JOB = "by (job)"
_DAY = 86_400


def parts() -> Dashboard:
    """RabbitMQ through its own plugin, Redis through its exporter, pods through the kubelet and kube-state-metrics."""
    made = board(
        "parts",
        "the parts",
        "RabbitMQ, Redis and the pods. Needs their exporters, see k8s/monitoring: a row without its exporter is empty.",
    )
    made = other_namespaces(made, "rabbitmq", "RabbitMQ in", "rabbitmq_identity_info")
    made = other_namespaces(made, "redis", "Redis in", "redis_up")
    for panel in (*_rabbitmq_figures(), *_redis_figures()):
        made = made.with_panel(panel)
    for title, panels in (("RabbitMQ", _rabbitmq()), ("Redis", _redis()), ("Pods", _pods())):
        made = made.with_row(row(title))
        for each in panels:
            made = made.with_panel(each)
    return made


def _rabbitmq_figures() -> tuple[Stat, ...]:
    at_most_once = f'{_RABBIT}, queue_type="rabbit_quorum_queue", dead_letter_strategy="at_most_once"'
    counted = "|".join(("expired", "rejected", "maxlen", "delivery_limit"))
    return (
        figure(
            "RabbitMQ nodes",
            Query(f"count (rabbitmq_identity_info{{{_RABBIT}}})"),
            unit="short",
            says="Nodes that answer. Fewer than were installed: see the pods of RabbitMQ. Two of three are enough to "
            "go on.",
        ),
        figure(
            "Alarms of RabbitMQ",
            Query(
                f"max (rabbitmq_alarms_memory_used_watermark{{{_RABBIT}}}) + max "
                f"(rabbitmq_alarms_free_disk_space_watermark{{{_RABBIT}}}) + max "
                f"(rabbitmq_alarms_file_descriptor_limit{{{_RABBIT}}})"
            ),
            unit="short",
            levels=(1, 1),
            says="Above 0 the broker takes no messages, and intake answers 503: make room (memory, disk), then it "
            "goes on "
            "by itself.",
        ),
        figure(
            "Dead-lettered at most once",
            Query(
                f'sum ({{__name__=~"rabbitmq_global_messages_dead_lettered_({counted})_total", {at_most_once}}})'
                " or vector(0)"
            ),
            unit="short",
            levels=(1, 1),
            says="Messages that the broker dead-lettered without keeping them until they arrived. Above 0: jobs may be "
            "lost, see the runbook of CaromDeadLetteredAtMostOnce.",
        ),
    )


def _redis_figures() -> tuple[Stat, ...]:
    return (
        figure(
            "Redis",
            Query(f"min (redis_up{{{_REDIS}}})"),
            unit="short",
            levels=(1, 0.5),
            says="1 while every Redis answers its exporter. 0: see its pods.",
        ),
        figure(
            "Redis memory in use",
            Query(f"max (redis_memory_used_bytes{{{_REDIS}}} / (redis_memory_max_bytes{{{_REDIS}}} > 0))"),
            unit="percentunit",
            levels=(0.7, 0.8),
            says="Of maxmemory. Full, it refuses writes and intake answers 503: raise it, or shorten config.retention; "
            "docs/operations/capacity.md says how much a job takes.",
        ),
        figure(
            "Evicted keys",
            Query(f"sum (redis_evicted_keys_total{{{_REDIS}}})"),
            unit="short",
            levels=(1, 1),
            says="Above 0: Redis throws away records and fences. Set maxmemory-policy to noeviction at once.",
        ),
    )


def _rabbitmq() -> tuple[TimeSeries, ...]:
    return (
        graph(
            "Messages ready, by queue",
            Query(
                f"{_READY}{{{_WORK}}})",
                "{{queue}}",
            ),
            unit="short",
            says="Work that no consumer has taken. Growing: add executors, or callback where it is carom.callback. "
            "carom.execute.held growing: something holds jobs, see the overview.",
        ),
        graph(
            "Messages kept and delayed",
            Query(
                f"{_READY}{{{_KEPT}}})",
                "{{queue}}",
            ),
            Query(
                f'sum (rabbitmq_detailed_queue_messages_ready{{{_RABBIT}, queue=~"carom[.]delay[.].+"}})', "in delay"
            ),
            unit="short",
            says="Dead letters and parked messages wait for somebody to act. In delay: retries and held jobs, "
            "nothing is wrong.",
        ),
        graph(
            "Messages unacknowledged, by queue",
            Query(
                f"sum by (queue) (rabbitmq_detailed_queue_messages_unacked{{{_WORK}}})",
                "{{queue}}",
            ),
            unit="short",
            says="Work that consumers have. At the sum of their slots and no faster: add replicas.",
        ),
        graph(
            "Published, confirmed, delivered, acknowledged",
            *(
                Query(f"sum (rate(rabbitmq_global_messages_{what}_total{{{_RABBIT}}}[$__rate_interval]))", name)
                for what, name in (
                    ("received", "published"),
                    ("confirmed", "confirmed"),
                    ("acknowledged", "acknowledged"),
                    ("redelivered", "redelivered"),
                )
            ),
            unit="reqps",
            says="Published above confirmed for long: the disks are too slow. Redelivered: consumers die or lose their "
            "connection.",
        ),
        graph(
            "Memory, of the high watermark",
            Query(
                f"rabbitmq_process_resident_memory_bytes{{{_RABBIT}}}"
                f" / rabbitmq_resident_memory_limit_bytes{{{_RABBIT}}}",
                "{{instance}}",
            ),
            unit="percentunit",
            levels=(0.7, 0.9),
            says="At 100 % the broker takes no more messages. Let the backlog shrink, or give the nodes more memory.",
        ),
        graph(
            "Free disk",
            Query(f"rabbitmq_disk_space_available_bytes{{{_RABBIT}}}", "{{instance}}"),
            Query(f"max (rabbitmq_disk_space_available_limit_bytes{{{_RABBIT}}})", "limit"),
            unit="bytes",
            says="At the limit the broker takes no more messages: make the volumes larger.",
        ),
        graph(
            "Connections and channels",
            Query(f"sum (rabbitmq_connections{{{_RABBIT}}})", "connections"),
            Query(f"sum (rabbitmq_channels{{{_RABBIT}}})", "channels"),
            Query(f"sum (rabbitmq_consumers{{{_RABBIT}}})", "consumers"),
            unit="short",
            says="Two connections a pod of executor and callback, one of intake. Sawteeth: something cuts connections.",
        ),
        graph(
            "Raft: entries committed",
            Query(
                f"sum by (instance) (rate(rabbitmq_raft_log_commit_index{{{_RABBIT}}}[$__rate_interval]))",
                "{{instance}}",
            ),
            unit="ops",
            says="How much quorum queues write. Less while as many jobs come in: see how long a commit takes, beside.",
        ),
        graph(
            "Raft: time to commit an entry",
            Query(f"max by (instance) (rabbitmq_raft_entry_commit_latency_seconds{{{_RABBIT}}})", "{{instance}}"),
            unit="s",
            says="How fast quorum queues write. High: slow disks, or a slow network between the nodes.",
        ),
        graph(
            "Confirms, as Carom sees them",
            quantiles("carom_publish_confirm_seconds", exemplars=False),
            unit="s",
            levels=(0.25, 1),
        ),
    )


def _redis() -> tuple[TimeSeries, ...]:
    return (
        graph(
            "Memory",
            Query(f"redis_memory_used_bytes{{{_REDIS}}}", "used, {{instance}}"),
            Query(f"redis_memory_max_bytes{{{_REDIS}}} > 0", "maxmemory, {{instance}}"),
            unit="bytes",
            says="At maxmemory writes are refused. Raise it, or shorten config.retention; see "
            "docs/operations/capacity.md.",
        ),
        graph(
            "Commands a second",
            Query(
                f"sum by (instance) (rate(redis_commands_processed_total{{{_REDIS}}}[$__rate_interval]))",
                "{{instance}}",
            ),
            unit="ops",
            says="About 32 microseconds a script: Redis has one thread. See its busy share beside.",
        ),
        graph(
            "CPU in use",
            Query(
                f"sum by (instance) (rate(redis_cpu_sys_seconds_total{{{_REDIS}}}[$__rate_interval])) + sum by "
                f"(instance) "
                f"(rate(redis_cpu_user_seconds_total{{{_REDIS}}}[$__rate_interval]))",
                "{{instance}}",
            ),
            unit="percentunit",
            levels=(0.7, 0.9),
            says="Of one core, as commands run in one thread. Near 100 %: it is the bottleneck, see "
            "docs/operations/capacity.md.",
        ),
        graph(
            "Time of commands",
            Query(
                f"topk(8, sum by (cmd) (rate(redis_commands_duration_seconds_total{{{_REDIS}}}[$__rate_interval])))",
                "{{cmd}}",
            ),
            unit="percentunit",
            says="Seconds of work a second, by command. Something else than evalsha above: another client uses this "
            "Redis.",
        ),
        graph(
            "Keys",
            Query(f"sum by (db) (redis_db_keys{{{_REDIS}}}) > 0", "{{db}}"),
            unit="short",
            says="Two a job that is kept. A fall to nothing: the data is gone, see the runbook of CaromStoreEmptied.",
        ),
        graph(
            "Clients and slow commands",
            Query(f"sum (redis_connected_clients{{{_REDIS}}})", "clients"),
            Query(f"sum (redis_blocked_clients{{{_REDIS}}})", "blocked (one a replica of intake that follows events)"),
            Query(f"sum (redis_slowlog_length{{{_REDIS}}})", "slow log"),
            unit="short",
            says="Slow log growing: redis-cli slowlog get shows the commands; a slow disk or another client.",
        ),
        graph(
            "Round trips, as Carom sees them",
            quantiles("carom_store_batch_seconds", by="job", exemplars=False),
            unit="s",
            levels=(0.25, 1),
        ),
        graph(
            "Commands in a round trip",
            quantiles("carom_store_batch_commands", by="job", exemplars=False),
            unit="short",
        ),
        graph(
            "Round trips that failed",
            rate("carom_store_failures_total", by="reason"),
            rate("carom_store_emptied_total", name="found empty"),
            unit="reqps",
        ),
    )


def _pods() -> tuple[TimeSeries, ...]:
    return (
        graph(
            "Pods that are ready, of those wanted",
            Query(f"kube_deployment_status_replicas_available{{{_DEPLOYMENTS}}}", "{{deployment}}"),
            Query(f"kube_deployment_spec_replicas{{{_DEPLOYMENTS}}}", "{{deployment}}, wanted"),
            unit="short",
            says="Fewer than wanted for long: kubectl describe the pods that are not ready; /readyz?verbose says "
            "what they miss.",
        ),
        graph(
            "CPU, of its limit or request",
            Query(
                f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{_CONTAINERS}}}[$__rate_interval]))", "{{pod}}"
            ),
            unit="none",
            says="Cores. A process uses one core at most: near 1, add replicas.",
        ),
        graph(
            "Throttled",
            Query(
                f"sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{{{_CONTAINERS}}}[$__rate_interval])) / "
                f"sum by (pod) (rate(container_cpu_cfs_periods_total{{{_CONTAINERS}}}[$__rate_interval]))",
                "{{pod}}",
            ),
            unit="percentunit",
            levels=(0.05, 0.25),
            says="Share of time slices in which the pod had to stop. High: raise its CPU limit or remove it; leases "
            "may be lost.",
        ),
        graph(
            "Memory",
            Query(f"sum by (pod) (container_memory_working_set_bytes{{{_CONTAINERS}}})", "{{pod}}"),
            unit="bytes",
            says="Growing without end: a leak, please report it. Near the limit: raise it, or lower the concurrency.",
        ),
        graph(
            "Restarts, in an hour",
            Query(f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{_CONTAINERS}}}[1h]))", "{{pod}}"),
            unit="short",
            levels=(1, 3),
            says="kubectl logs --previous shows why: bad configuration, out of memory, or a liveness probe that "
            "failed.",
        ),
        graph(
            "CPU of the processes",
            Query(f"sum {_PER_JOB} (rate({ours('process_cpu_seconds_total')}[$__rate_interval]))", "{{job}}"),
            unit="none",
            says="Cores, all replicas of a service together, as the processes count them.",
        ),
        graph(
            "Memory of the processes",
            Query(f"max {_PER_JOB} ({ours('process_resident_memory_bytes')})", "largest, {{job}}"),
            unit="bytes",
            says="Of the largest replica. Growing without end: a leak, please report it.",
        ),
        graph(
            "Open files",
            Query(f"max {_PER_JOB} ({ours('process_open_fds')} / {ours('process_max_fds')})", "{{job}}"),
            unit="percentunit",
            levels=(0.7, 0.9),
            says="Of what the process may open. High: far too many streams or connections at one replica; add "
            "replicas.",
        ),
        graph(
            "Lag of the event loops",
            quantiles("carom_event_loop_lag_seconds", by="job", exemplars=False),
            unit="s",
            levels=(0.1, 1),
        ),
        graph(
            "Versions",
            Query(f"count by (version) ({ours('carom_build_info')})", "{{version}}"),
            unit="short",
        ),
        graph(
            "Loops that stand still",
            Query(
                f"max by (job, loop) (time() - ({ours('carom_loop_progress_timestamp_seconds')} > 0))",
                "{{job}}, {{loop}}",
            ),
            unit="s",
            levels=(20, 60),
            says="Since a loop last went round. At 20 s /livez fails and the kubelet restarts the pod; who is still "
            "there at 60 s has no working probe.",
        ),
        graph(
            "Until a certificate expires",
            Query(
                f"min by (use) (({ours('carom_certificate_expiry_timestamp_seconds')} > 0) - time()) < Inf", "{{use}}"
            ),
            unit="s",
            levels=(14 * _DAY, 2 * _DAY),
            says="Yellow: what renews certificates has failed. Renew it in its Secret; the files are read again.",
        ),
        graph(
            "Until an API key expires",
            Query(f"min (({ours('carom_api_key_expiry_timestamp_seconds')} > 0) - time()) < Inf", "the first"),
            unit="s",
            levels=(14 * _DAY, 7 * _DAY),
            says="GET /api/keys shows which. Make a new one, and give it to the client before the old one ends.",
        ),
        graph(
            "Defects, and what cannot be opened, in an hour",
            Query(f"sum by (where) (increase({ours('carom_defects_total')}[1h]))", "{{where}}"),
            Query(f"sum (increase({ours('carom_unsealable_total')}[1h]))", "not to be opened"),
            unit="short",
            levels=(1, 1),
        ),
    )
