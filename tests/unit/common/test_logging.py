"""Lines of the log: JSON in the cluster, and which of the ordinary ones are left out."""

import json
import subprocess
import sys
import uuid

from carom_common.telemetry import metrics
from carom_common.telemetry.logging import Sampling

LINES = """
from carom_common.telemetry.logging import configure_logging, get_logger
configure_logging("executor", {level!r}, "json")
log = get_logger()
log.info("attempt", job_id="a", none=None, at=1.5)
log.warning("lease_lost", job_id="b")
try:
    raise RuntimeError("boom")
except RuntimeError:
    log.exception("step_failed", job_id="c")
log.critical("service_failed", reason="d")
"""


def lines(level: str) -> list[dict[str, object]]:
    output = subprocess.run([sys.executable, "-c", LINES.format(level=level)], capture_output=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def test_a_line_is_json_with_its_level_time_and_service() -> None:
    found = lines("info")
    assert [line["level"] for line in found] == ["info", "warning", "error", "critical"]
    assert {key: found[0][key] for key in ("event", "job_id", "none", "at", "service")} == {
        "event": "attempt",
        "job_id": "a",
        "none": None,
        "at": 1.5,
        "service": "executor",
    }
    assert all(str(line["timestamp"]).endswith("Z") and len(str(line["timestamp"])) == 27 for line in found)
    assert "RuntimeError: boom" in str(found[2]["exception"])
    assert "exc_info" not in found[2]


def test_less_severe_lines_are_not_written() -> None:
    assert [line["event"] for line in lines("error")] == ["step_failed", "service_failed"]


def test_a_share_of_jobs_is_kept_and_the_same_by_every_service() -> None:
    jobs = [str(uuid.UUID(int=number * 7919)) for number in range(5000)]
    one, other = Sampling(), Sampling()
    one.set(0.2, on=True)
    other.set(0.2, on=True)
    left_out = metrics.log_left_out.labels().value
    kept = [job for job in jobs if one.keeps(job)]
    assert 850 < len(kept) < 1150
    assert metrics.log_left_out.labels().value - left_out == len(jobs) - len(kept)
    assert kept == [job for job in jobs if other.keeps(job)]
    assert one.told == {"sample_rate": 0.2}
    other.set(0.5, on=True)
    assert all(other.keeps(job) for job in kept)  # who raises the share sees more of the same


def test_all_are_kept_by_default_and_none_where_the_level_is_above() -> None:
    sampling = Sampling()
    assert sampling.keeps("any")
    assert sampling.told == {}
    sampling.set(1.0, on=False)
    assert not sampling.keeps("any")
