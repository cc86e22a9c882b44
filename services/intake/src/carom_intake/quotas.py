"""What a tenant may have in Carom: open jobs, and bytes of jobs. Counted once a second, so about right."""

from typing import NamedTuple

from carom_common.adapters.store.backlog import Backlog
from carom_common.telemetry import metrics
from carom_intake.problems import HttpProblem

RETRY_SECONDS = 5


class Quotas(NamedTuple):
    """The most that each tenant may have; 0 for any."""

    jobs: int = 0
    bytes: int = 0

    def check(self, backlog: Backlog, tenant: str, jobs: int, size: int) -> None:
        """429 where these jobs, of so many bytes together, are over a quota of the tenant."""
        if self.jobs and backlog.jobs_of(tenant) + jobs > self.jobs:
            raise _used_up("jobs", f"{backlog.jobs_of(tenant)} jobs are open, and {self.jobs} may be")
        if self.bytes and backlog.bytes_of(tenant) + size > self.bytes:
            raise _used_up("bytes", f"{backlog.bytes_of(tenant)} bytes of jobs are kept, and {self.bytes} may be")


def _used_up(quota: str, detail: str) -> HttpProblem:
    metrics.quota_refusals.labels(quota).inc()
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return HttpProblem(429, f"of this tenant {detail}; nothing was accepted", headers=headers, reason=f"quota-{quota}")
