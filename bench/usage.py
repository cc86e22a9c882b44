"""CPU time and memory of components."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import psutil

MIB = 1024 * 1024


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system time so far by component, children included, also those that have ended."""
    used = dict.fromkeys(pids, 0.0)
    for name, pid in pids.items():
        for process in _family(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                used[name] += sum(process.cpu_times()[:4])  # user, system, children_user, children_system
    return used


def cpu_ms_each(before: Mapping[str, float], after: Mapping[str, float], jobs: int) -> dict[str, float]:
    """CPU-ms a job by component, between two of `cpu_seconds`; in all where there was none."""
    return {name: (after[name] - used) * 1000 / max(1, jobs) for name, used in before.items()}


def memory(pids: Mapping[str, int]) -> dict[str, float]:
    """Resident MiB by component, without children: the fork in which Redis rewrites its file shares all it has."""
    held = dict.fromkeys(pids, 0.0)
    for name, pid in pids.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            held[name] = psutil.Process(pid).memory_info().rss / MIB
    return held


class Sample(NamedTuple):
    at: float
    mib: dict[str, float]


@contextlib.contextmanager
def sampled(pids: Callable[[], Mapping[str, int]], seconds: float = 1) -> Iterator[list[Sample]]:
    """Memory at the start and then every `seconds`, in a thread, until the block ends."""
    samples: list[Sample] = []
    done = threading.Event()

    def sample() -> None:
        while True:
            samples.append(Sample(time.monotonic(), memory(pids())))
            if done.wait(seconds):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join(10)
