"""`make bench-guard`: whether a job costs more CPU than it did when the ratio was recorded.

Machines differ, and one machine differs from hour to hour. So bursts of jobs take turns with a loop of the same kind of
work (bench.calibration), and what counts is the ratio of the two: turns of that loop that a job costs. `--record`
writes down the ratio of today.
"""

import argparse
import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.bursts import Contender, Way
from bench.report import say, title
from devstack.errors import DevstackError
from devstack.process import clean_environment

RECORDED = Path(__file__).parent / "guard.json"
BURSTS, BURST_JOBS = 12, 500
CEILING = 1.35
"""Times what was recorded. Runs on one machine under a load of 8 to 11 were within 6 percent of the mean."""


def calibrate() -> float:
    """CPU-us that one turn of the loop costs now."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.calibration"],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )
    if done.returncode:
        raise DevstackError(f"the calibration failed: {done.stderr[-300:]}")
    return float(done.stdout)


def measure() -> tuple[float, list[str]]:
    """Turns of the loop that a job costs, and what went wrong."""
    title(f"CPU a job against a loop of its kind: {BURSTS} bursts of {BURST_JOBS} jobs")
    loop: list[float] = []
    with ExitStack() as until:
        stack = Contender("guard", lambda _: Way({}), until)
        for _ in range(BURSTS):
            loop.append(calibrate())
            stack.burst(BURST_JOBS)
        wrong = stack.problems()
    job_us, turn_us = stack.means()["stack"] * 1000, statistics.fmean(loop)
    say(f"  a job: {job_us:.0f} us, a turn of the loop: {turn_us:.1f} us")
    return job_us / turn_us, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-guard", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the ratio down instead of comparing it")
    record: bool = parser.parse_args().record
    try:
        ratio, wrong = measure()
    except DevstackError as error:
        wrong = [str(error)]
    for problem in wrong:
        print(f"carom: {problem}", file=sys.stderr)
    if wrong:
        return 1
    if record:
        RECORDED.write_text(json.dumps({"turns_a_job": round(ratio, 2)}) + "\n")
        say(f"  recorded: {ratio:.2f} turns a job")
        return 0
    recorded: float = json.loads(RECORDED.read_text())["turns_a_job"]
    say(f"  {ratio:.2f} turns a job, recorded {recorded:.2f}: {ratio / recorded:.2f} times; at most {CEILING} may be")
    if ratio <= CEILING * recorded:
        return 0
    print(
        f"carom: a job costs {ratio / recorded:.2f} times the CPU that was recorded: find out why (make bench ARGS=own)"
        ", or record it with the reason in the commit (make bench-guard ARGS=--record)",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
