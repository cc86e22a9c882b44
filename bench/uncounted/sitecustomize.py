"""On PYTHONPATH of a service: its counters and histograms take no note, as if it had none."""

from carom_common.telemetry.metrics.kinds import Buckets, Count


def _nothing(*_: object) -> None:
    pass


Count.inc = _nothing  # type: ignore[assignment]
Buckets.observe = _nothing  # type: ignore[assignment]
