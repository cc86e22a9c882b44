"""How long after a fault jobs are taken and begun as fast as before it."""

import time
from collections import Counter
from collections.abc import Sequence

from bench.report import percentile
from tests.support.load import Load, Submission
from tests.support.witness import Witness

from devstack.process import wait_until

WINDOW = 1.0
STEP = 0.25
SLOWER = 3.0
"""Times the latency before the fault that counts as normal again,"""
AT_LEAST = 0.3
"""or these seconds: two cores have other things to do."""
OF_THE_RATE = 0.5
"""Of the submissions a second that there were before: the load itself may be slowed down."""


def latencies(submissions: Sequence[Submission], witness: Witness) -> list[float]:
    """Seconds from each request to the first call of its job; infinite where there was none."""
    return [
        calls[0].at - submission.at
        if submission.job_id and (calls := witness.called(submission.job_id))
        else float("inf")
        for submission in submissions
    ]


class Recovery:
    """Made while all is well, which says what is normal; `last` is how the last second was that was not."""

    def __init__(self, load: Load, seconds: float) -> None:
        self._load = load
        self._least = OF_THE_RATE * WINDOW * len(load.submissions) / seconds
        self.last = ""
        baseline = percentile(latencies(load.submissions, load.witness), 95) or 0.0
        self.normal = max(AT_LEAST, SLOWER * baseline) if baseline < float("inf") else AT_LEAST

    def wait(self, ended: float, seconds: float) -> float | None:
        """Seconds after `ended` from which on a whole second of jobs was normal; None if that never came."""
        start, found = ended, False

        def looked() -> bool:
            nonlocal start, found
            # A request that still waits is not among the submissions: look at what had time to be answered and called.
            while not found and start <= time.monotonic() - WINDOW - self.normal:
                found = self._is_normal(self._sent_in(start))
                start += 0 if found else STEP
            return found

        return start - ended if wait_until(looked, seconds, STEP) else None

    def _sent_in(self, start: float) -> list[Submission]:
        """What was sent in the window; submissions stand in the order of their answers."""
        sent = []
        for submission in reversed(self._load.submissions):
            if submission.at + submission.took < start:
                break
            if start <= submission.at < start + WINDOW:
                sent.append(submission)
        return sent

    def _is_normal(self, window: Sequence[Submission]) -> bool:
        slow = percentile(latencies(window, self._load.witness), 95) or 0.0
        refused = Counter(each.answer for each in window if each.answer != "202")
        self.last = f"{len(window)} sent, refused {dict(refused)}, p95 {slow:.2f} s; normal are {self.normal:.2f} s"
        return len(window) >= self._least and not refused and slow <= self.normal
