"""Every metric, its meaning, and what to do when it is high; docs/reference/metrics.md is written from here.

Labels are bounded and declared: no URL, host, tenant, routing key or id.
"""

from prometheus_client import REGISTRY
from prometheus_client.registry import CollectorRegistry

from carom_common.telemetry.metrics.accepting import *  # noqa: F403
from carom_common.telemetry.metrics.kinds import CATALOGUE as CATALOGUE
from carom_common.telemetry.metrics.kinds import Service as Service
from carom_common.telemetry.metrics.parts import *  # noqa: F403
from carom_common.telemetry.metrics.parts import build_info
from carom_common.telemetry.metrics.working import *  # noqa: F403


def begin(service: Service, registry: CollectorRegistry = REGISTRY) -> None:
    """Tell what this service has to tell; once a process."""
    for metric in CATALOGUE:
        if service in metric.by:
            metric.begin(service)
            registry.register(metric)
    build_info.labels(*build_info.declared[0]).set(1)
