"""What seeing costs: CPU a job with metrics and traces on beside none.

`none` counts nothing (bench/uncounted) and makes no spans; no events are logged in any of them (bench/ours.json).
"""

import contextlib
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.bursts import Way
from bench.nginx import Nginx
from bench.stand import Stand
from bench.ways import Ways, compare

GOAL_PERCENT = 5
SCRAPE_SECONDS = 5.0
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
UNCOUNTED = {"PYTHONPATH": str(Path(__file__).parent / "uncounted")}
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def measure(rounds: int) -> dict[str, Any]:
    """All ways in turns; the figures are means."""
    return compare("Metrics and traces", WAYS, rounds, JUDGED, GOAL_PERCENT)


@contextlib.contextmanager
def scraped(stand: Stand) -> Iterator[None]:
    """As by a Prometheus that is in a hurry."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(SCRAPE_SECONDS):
            for service in stand.stack.services:
                request = urllib.request.Request(f"{service.admin}/metrics", headers={"Accept": OPENMETRICS})
                with _opener.open(request, timeout=10) as response:
                    response.read()

    thread = threading.Thread(target=scrape, name="scrape")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _none(_: Path) -> Way:
    return Way(UNCOUNTED)


def _metrics(_: Path) -> Way:
    return Way({}, beside=scraped)


def _traced(directory: Path, ratio: float) -> Way:
    """Spans go to a collector that takes all of them, whose own CPU is not counted."""
    collector = Nginx(directory / "collector")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER_ARG": str(ratio)}

    @contextlib.contextmanager
    def beside(stand: Stand) -> Iterator[None]:
        with collector, scraped(stand):
            yield

    return Way(env, beside=beside)


JUDGED = "metrics, 1 % traced"
WAYS: Ways = {
    "none": _none,
    "metrics": _metrics,
    JUDGED: lambda directory: _traced(directory, 0.01),
    "metrics, all traced": lambda directory: _traced(directory, 1),
}
