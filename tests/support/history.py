"""Hours of samples of many pods, made from what a Prometheus has scraped of one of each."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from devstack.paths import prometheus_binary

PODS = 10
"""Of each service."""
HOURS = 3
SCRAPE_SECONDS = 60
BLOCK_SECONDS = 7200
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+) \d+$", re.MULTILINE)


def last_end() -> float:
    """Where a block of Prometheus ended last: promtool reads everything once for each block."""
    return time.time() // BLOCK_SECONDS * BLOCK_SECONDS - 1


def backfill(scraped: str, names: set[str], data: Path, end: float) -> None:
    """Blocks in `data` up to `end`, of the series in `names`: they grow from nothing to what was scraped."""
    series = list(_many(scraped, names))
    samples = HOURS * 3600 // SCRAPE_SECONDS
    text = data.with_suffix(".txt")
    with text.open("w") as lines:
        for sample in range(1, samples + 1):
            share, when = sample / samples, int(end) - (samples - sample) * SCRAPE_SECONDS
            lines.writelines(f"{one} {value * share} {when}\n" for one, value in series)
        lines.write("# EOF\n")
    command = [prometheus_binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    subprocess.run(command, capture_output=True, timeout=300, check=True)
    text.unlink()


def _many(scraped: str, names: set[str]) -> Iterator[tuple[str, float]]:
    """Every series with its last value, those of a pod for each of its replicas."""
    for name, labels, value in _SAMPLE.findall(scraped):
        if name not in names:
            continue
        for number in range(PODS if "pod=" in labels else 1):
            replica = re.sub(r'pod="(.+?)-0"', rf'pod="\1-{number}"', labels)
            replica = re.sub(r'instance="([^"]+)"', rf'instance="\1-{number}"', replica)
            yield f"{name}{replica}", float(value)
