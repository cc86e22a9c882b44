"""Lines of the log: JSON in the cluster, and which of the ordinary ones are left out."""

import json
import re
import subprocess
import sys
import uuid

from carom_common.telemetry import metrics
from carom_common.telemetry.logging import Sampling

LIBRARIES = """
import logging, warnings
from carom_common.telemetry.logging import configure_logging, get_logger
configure_logging("executor", {level!r}, {fmt!r})
get_logger().info("attempt", job_id="a", took_ms=1.5)
logging.getLogger("some.library").warning("%s %s", "two", "words")
logging.getLogger("some.library").info("nobody wants to know")
logging.getLogger("aio_pika").error("our own events say it")
warnings.warn("this is odd")
try:
    raise RuntimeError("boom")
except RuntimeError:
    logging.getLogger("asyncio").exception("Task exception was never retrieved")
"""

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


def said(level: str, fmt: str) -> list[str]:
    """What a program with libraries that log writes, standard error included."""
    program = LIBRARIES.format(level=level, fmt=fmt)
    run = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, text=True
    )
    return run.stdout.splitlines()


def test_what_libraries_log_are_json_lines_too() -> None:
    ours, library, odd, failed = (json.loads(line) for line in said("info", "json"))
    assert ours["event"] == "attempt"
    assert {key: library[key] for key in ("event", "level", "service", "logger", "message")} == {
        "event": "library",
        "level": "warning",
        "service": "executor",
        "logger": "some.library",
        "message": "two words",
    }
    assert "exception" not in library
    assert (odd["logger"], odd["level"]) == ("py.warnings", "warning")
    assert "this is odd" in odd["message"]
    assert (failed["logger"], failed["level"]) == ("asyncio", "error")
    assert "RuntimeError: boom" in failed["exception"]


def test_libraries_keep_to_the_level() -> None:
    assert [json.loads(line)["logger"] for line in said("error", "json")] == ["asyncio"]


def test_the_console_has_readable_lines_of_libraries_too() -> None:
    ours, library, *rest = said("info", "console")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} \[info +\] attempt +job_id=a took_ms=1\.5", ours)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} \[warning +\] library +\[some\.library\] message='two words'", library)
    assert any("RuntimeError: boom" in line for line in rest)


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
