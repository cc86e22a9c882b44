"""`make bench`: measures Carom on this machine, beside its peers where they are there.

Parts: compare (../shared/bench), own (Carom alone; also in place of compare where that is not possible),
accepting (single posts and batches, lateness of delayed jobs), retries (lateness), backlog (drain and memory),
dead (a healthy host beside dead ones), controls (what security costs), telemetry (what metrics and traces cost),
slow (thousands of slow calls at once; two executors), failing (what jobs that fail twice cost) and, only when they
are named, growth (what a job costs beside very many), lists (first pages) and budget (what of a job costs how much).
Without a part all others.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from bench import (
    accepting,
    backlog,
    budget,
    compare,
    controls,
    dead_hosts,
    failing,
    growth,
    lists,
    own,
    peers,
    report,
    retries,
    slow,
    telemetry,
)
from bench.report import say
from devstack.errors import DevstackError
from devstack.lock import FileLock, held_text
from devstack.paths import RUN_DIR
from devstack.ports import API, is_free
from devstack.run import LOCK

PARTS = (
    "compare",
    "own",
    "accepting",
    "retries",
    "backlog",
    "dead",
    "controls",
    "telemetry",
    "slow",
    "failing",
    "growth",
    "lists",
    "budget",
)
WHEN_NAMED = ("growth", "lists", "budget")
DEAD_RATE, DEAD_SECONDS = 50, 40
FAILING_RATE = 100
_LOCK = RUN_DIR / "bench.lock"


def main() -> int:
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    lock = FileLock(_LOCK)
    try:
        _refuse_beside_others(lock)
        parts = _parts(options)
        return _measure(parts, options)
    except DevstackError as error:
        print(f"carom: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        lock.release()
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--own", action="store_true", help="Carom alone instead of compare")
    parser.add_argument("--rounds", type=_count, default=3, help="rounds of compare, controls and telemetry (3)")
    parser.add_argument("--all", action="store_true", help=f"compare with {', '.join(peers.OTHERS)} too")
    parser.add_argument("--seconds", type=_count, default=8, help="submission at full speed (8)")
    parser.add_argument("--connections", type=_count, default=64, help="that submit at full speed (64)")
    parser.add_argument("--rate", type=_count, default=50, help="jobs/s for latency (50)")
    parser.add_argument("--retries", type=_count, default=1000, help="jobs that fail once (1000)")
    parser.add_argument("--retry-rate", type=_count, default=25, help="of them a second (25)")
    parser.add_argument("--backlog", type=_count, default=200_000, help="jobs in the backlog (200000)")
    parser.add_argument("--dead", type=_count, default=10_000, help="dead hosts (10000)")
    parser.add_argument("--failing", type=_count, default=3000, help="jobs that fail twice (3000)")
    parser.add_argument(
        "--kept", type=_count, default=1_000_000, help="jobs kept or queued beside lists and growth (1000000)"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def _refuse_beside_others(lock: FileLock) -> None:
    if held_text(LOCK) is not None:
        raise DevstackError("make run is up: stop it first, both would measure each other")
    if not is_free(API, "0.0.0.0"):
        raise DevstackError(f"port {API} is in use: stop what runs there first")
    if not lock.acquire():
        raise DevstackError("another make bench runs")


def _parts(options: argparse.Namespace) -> list[str]:
    parts = set(options.parts) or {*PARTS} - {*WHEN_NAMED, "compare" if options.own else "own"}
    if "compare" in parts and (obstacle := peers.obstacle()):
        if "compare" in options.parts:
            raise DevstackError(obstacle)
        say(f"no comparison, Carom alone instead: {obstacle}")
        parts = parts - {"compare"} | {"own"}
    return [part for part in PARTS if part in parts]


def _measure(parts: list[str], o: argparse.Namespace) -> int:
    """Each part within its time; gives 1 when something was lost, early or grew."""
    work: dict[str, tuple[int, Callable[[], dict[str, Any]]]] = {
        "compare": (
            peers.SETUP_SECONDS + o.rounds * peers.RUN_SECONDS * 6,
            lambda: compare.measure(o.rounds, o.all, o.seconds, o.connections, o.rate),
        ),
        "own": (600 + o.seconds, lambda: own.measure(o.seconds, o.connections, o.rate)),
        "accepting": (300 + 3 * o.seconds, lambda: accepting.measure(o.seconds)),
        "retries": (300 + o.retries // o.retry_rate, lambda: retries.measure(o.retries, o.retry_rate)),
        "backlog": (600 + o.backlog // 100, lambda: backlog.measure(o.backlog)),
        "dead": (
            300 + 2 * DEAD_SECONDS + o.dead // dead_hosts.ARRIVING_PER_SECOND,
            lambda: dead_hosts.measure(o.dead, DEAD_RATE, DEAD_SECONDS),
        ),
        "controls": (120 + o.rounds * 120 * len(controls.WAYS), lambda: controls.measure(o.rounds)),
        "telemetry": (120 + o.rounds * 120 * len(telemetry.WAYS), lambda: telemetry.measure(o.rounds)),
        "slow": (600, slow.measure),
        "failing": (600 + 2 * o.failing // FAILING_RATE, lambda: failing.measure(o.failing, FAILING_RATE)),
        "growth": (1200 + o.kept // 200, lambda: growth.measure(o.kept)),
        "lists": (300 + o.kept // 1000, lambda: lists.measure(o.kept)),
        "budget": (600, budget.measure),
    }
    result: dict[str, Any] = report.machine()
    wrong: list[str] = []
    try:
        for part in parts:
            seconds, measure = work[part]
            try:
                with _within(seconds, part):
                    result[part] = measure()
            except (DevstackError, OSError, TimeoutError) as error:
                result[part] = {"problems": [str(error) or type(error).__name__]}
            wrong += [f"{part}: {problem}" for problem in result[part]["problems"]]
    finally:
        result["load_average_at_end"] = [round(load, 2) for load in os.getloadavg()]
        say(f"\nwritten to {report.write(result).relative_to(RUN_DIR.parent)}")
    for problem in wrong:
        print(f"carom: {problem}", file=sys.stderr)
    return 1 if wrong else 0


@contextlib.contextmanager
def _within(seconds: int, part: str) -> Iterator[None]:
    """An alarm ends the part like Ctrl-C: asyncio lets no other exception out of its callbacks."""
    late = False

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        nonlocal late
        late = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(seconds)
    try:
        yield
    except KeyboardInterrupt:
        if not late:
            raise
        raise DevstackError(f"{part} did not end within {seconds} s") from None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
