"""The tracer of a service, where one is configured. Without one OpenTelemetry's SDK is not even imported."""

from carom_common.settings import Settings
from carom_common.telemetry.tracing import Tracer

FLUSH_SECONDS = 3.0
"""How long the last spans may take at the end: what a pod has between its drain and its end is 15 s."""


def open_tracer(service: str, settings: Settings) -> Tracer | None:
    """None: no spans are made. The service closes it last."""
    if not settings.otlp_endpoint:
        return None
    from carom_common.telemetry.otlp import OtlpSink

    sink = OtlpSink(service, settings.otlp_endpoint, settings.trace_queue)
    follow = settings.traces_sampler == "parentbased_traceidratio"
    broker = settings.rabbitmq_url.get_secret_value()
    return Tracer(sink, settings.traces_ratio, broker, follow=follow, errors=settings.trace_errors)
