"""Lists of jobs with very many kept: how long the first page takes, and what an index entry costs in memory."""

import itertools
import random
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hiredis
import httpx
from tests.support.records import Command, batched, job, record

from bench.report import percentile, say, table, title
from carom_common.contracts.message import DEFAULT_TENANT
from devstack.errors import DevstackError
from devstack.ports import free_port
from devstack.servers import Redis
from devstack.services import Service

ROUNDS = 100
_BATCH = 5000
_TEAMS, _HOSTS, _TIERS = 200, 1000, ("gold", "silver", "bronze")
QUERIES = {
    "all": "",
    "limit=1000": "limit=1000",
    "status=failed": "status=failed",
    "status=waiting": "status=waiting",
    "status=completed": "status=completed",
    "reason=timeout": "reason=timeout",
    "label": "label=team=t7",
    "common label": "label=tier=gold",
    "label and status": "label=team=t7&status=failed",
    "host": "host=h7.example",
    "host and label": "host=h7.example&label=tier=gold",
    "createdBefore": "createdBefore=2023-11-15T00:00:00Z",
    "fits nothing": "reason=timeout&status=completed",
}
"""The last reads all that one page may read, and finds nothing."""


def measure(count: int) -> dict[str, Any]:
    """First pages through one intake, over `count` small jobs of which one in ten failed and one in ten is open."""
    title(f"lists with {count} jobs kept")
    directory = Path(tempfile.mkdtemp(prefix="carom-bench-"))
    redis = Redis(directory / "redis", settings={"appendonly": "no", "save": '""'})
    # No broker: lists need none, and intake says so only when it is asked to take a job.
    env = {"REDIS_URL": redis.url, "RABBITMQ_URL": f"amqp://127.0.0.1:{free_port()}/", "CAROM_LOG_LEVEL": "warning"}
    intake = Service("intake", env, log=directory / "intake.log")
    try:
        redis.start()
        entries, seconds, entry_bytes = fill(redis.url, count)
        say(f"  filled in {seconds:.0f} s: {entries / count:.1f} index entries a job, {entry_bytes:.0f} bytes each\n")
        intake.start()
        pages = {name: _time(intake.url, query) for name, query in QUERIES.items()}
    finally:
        intake.kill()
        redis.kill()
        shutil.rmtree(directory, ignore_errors=True)
    table(["first page, ms", "p50", "p99", "jobs"], [[name, *page.values()] for name, page in pages.items()])
    return {
        "kept": count,
        "entries_per_job": round(entries / count, 1),
        "bytes_per_entry": round(entry_bytes, 1),
        "first_page_ms": pages,
        "problems": [],
    }


def fill(url: str, count: int) -> tuple[int, float, float]:
    """Put the jobs in; gives index entries, seconds, and bytes an entry."""
    started, entries = time.monotonic(), 0
    with _Pipe(url) as pipe:
        indexed: list[Command] = []
        records = (command for one in _jobs(count) for command in one)

        def without_entries() -> Iterator[Command]:
            for command in records:
                if command[0] == "ZADD":
                    indexed.append(command)
                else:
                    yield command

        memory = pipe.memory()
        grown = 0
        for batch in batched(without_entries(), _BATCH):
            pipe.send(batch)
            before = pipe.memory()
            pipe.send(indexed)
            grown += pipe.memory() - before
            entries += len(indexed)
            indexed.clear()
        pipe.send(indexed)
        entries += len(indexed)
        say(f"  Redis holds {(pipe.memory() - memory) / count:.0f} bytes a job, indexes included")
    return entries, time.monotonic() - started, grown / max(1, entries - len(indexed))


def _jobs(count: int) -> Iterator[list[Command]]:
    rng = random.Random(5)
    keep = 6 * 3_600_000
    for n in range(count):
        labels = {"team": f"t{rng.randrange(_TEAMS)}", "tier": rng.choice(_TIERS)}
        wanted = job(f"h{rng.randrange(_HOSTS)}.example", 0, **labels)
        made = 1_700_000_000_000 + n * 86_400_000 // count
        kind = rng.random()
        job_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        if kind < 0.1:
            reason = rng.choice(("timeout", "http-5xx", "dns"))
            yield record(
                DEFAULT_TENANT, made, wanted, status="failed", job_id=job_id, reason=reason, dead=True, keep_ms=keep
            )[1]
        elif kind < 0.2:
            yield record(DEFAULT_TENANT, made, wanted, status="waiting", job_id=job_id, keep_ms=keep)[1]
        else:
            yield record(DEFAULT_TENANT, made, wanted, job_id=job_id, keep_ms=keep)[1]


def _time(base: str, query: str) -> dict[str, Any]:
    with httpx.Client(base_url=base, trust_env=False, timeout=30) as client:
        took: list[float] = []
        jobs = 0
        for n in itertools.count():
            started = time.perf_counter()
            answer = client.get(f"/api/jobs?{query}")
            if answer.status_code != 200:
                raise DevstackError(f"GET /api/jobs?{query} answered {answer.status_code}: {answer.text[:200]}")
            if n:  # the first makes the connection
                took.append((time.perf_counter() - started) * 1000)
            jobs = len(answer.json()["jobs"])
            if n == ROUNDS:
                break
    p50, p99 = percentile(took, 50), percentile(took, 99)
    assert p50 is not None
    assert p99 is not None
    return {"p50": round(p50, 1), "p99": round(p99, 1), "jobs": jobs}


class _Pipe:
    """Very many commands to one Redis, without a client's cost for each."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), 30)
        self._reader = hiredis.Reader()

    def __enter__(self) -> "_Pipe":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, commands: list[Command]) -> list[Any]:
        if not commands:
            return []
        self._socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 16))
            elif isinstance(reply, Exception):
                raise DevstackError(f"Redis: {reply}")
            else:
                replies.append(reply)
        return replies

    def memory(self) -> int:
        (info,) = self.send([("INFO", "memory")])
        return int(next(line for line in info.decode().splitlines() if line.startswith("used_memory:")).split(":")[1])
