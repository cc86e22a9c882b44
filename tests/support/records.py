"""Records and index entries as the services write them, put into Redis without any service: for lists and sweeps."""

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from carom_common.adapters.store import index
from carom_common.contracts.job import Job, encode_job

Command = tuple[Any, ...]


def record(
    tenant: str,
    created: int,
    job: Job,
    *,
    status: str = "completed",
    job_id: str | None = None,
    reason: str = "",
    dead: bool = False,
    keep_ms: int = 3_600_000,
) -> tuple[str, list[Command]]:
    """One job, kept for a while, and what makes it known."""
    job_id = job_id or str(uuid.uuid4())
    key = f"carom:{{{job_id}}}"
    fields: dict[str, str | int] = {
        "generation": 1, "attempt": 1, "created": created, "updated": created, "status": status, "eta": 0,
        "tenant": tenant, "error": reason, "dead": int(dead), "callback": "none",
    }  # fmt: skip
    if reason:
        fields["reason"] = reason
    final = status in ("completed", "failed", "cancelled", "expired")
    if final:
        fields["completed"] = created
    names = [*index.lasting(job), *(index.final(status, reason, dead) if final else ("open",))]
    return job_id, [
        ("HSET", f"{key}:state", *(part for pair in fields.items() for part in pair)),
        ("RPUSH", f"{key}:log", encode_job(job)),
        ("PEXPIRE", f"{key}:state", keep_ms),
        ("PEXPIRE", f"{key}:log", keep_ms),
        *index.enters(tenant, job_id, created, *names),
    ]


def job(host: str = "a.example", size: int = 0, **labels: str) -> Job:
    payload = msgspec.Raw(msgspec.json.encode("x" * size)) if size else msgspec.Raw(b"null")
    return Job(target_url=f"https://{host}/hook", callback_url=None, payload=payload, labels=labels)


def batched(commands: Iterable[Command], size: int) -> Iterator[list[Command]]:
    batch: list[Command] = []
    for command in commands:
        batch.append(command)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
