"""The document of `GET /api/stats`."""

from collections.abc import Mapping
from typing import Any

from carom_common.domain.loghist import percentile

WINDOWS = {"1m": 60, "5m": 300, "15m": 900}
"""Names of the windows, with their seconds."""

ENDED = ("completed", "failed", "cancelled", "expired")


def window_document(
    seconds: float, counts: Mapping[str, int], latency: Mapping[int, int], names: tuple[str, ...]
) -> dict[str, Any]:
    """What was counted in a window that covers so many seconds; latencies in milliseconds, null without any job."""

    def rate(number: int) -> float:
        return round(number / seconds, 3)

    return {
        **{name: counts.get(name, 0) for name in names},
        "ratePerSecond": {
            "accepted": rate(counts.get("accepted", 0)),
            "finished": rate(sum(counts.get(name, 0) for name in ENDED)),
            "attempts": rate(counts.get("attempts", 0)),
        },
        "latencyMs": {name: _rounded(percentile(latency, share)) for name, share in (("p50", 0.5), ("p99", 0.99))},
    }


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)
