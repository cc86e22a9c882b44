"""The two documents of a job: the seed's, to the letter, and the typed one."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from carom_common.contracts.job import FINAL_STATUSES, Callback, CallbackRetry, Job, Status, decode_job
from carom_common.contracts.message import Attempt, decode_attempt
from carom_common.domain.clock import parse_rfc3339, rfc3339
from carom_common.domain.redaction import redacted, redacted_payload

_SHOWN_AS = {Status.SCHEDULED: Status.QUEUED, Status.WAITING: Status.IN_PROGRESS}
_NOTHING = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


class Record:
    """A job's state, the job, and its attempts, as the store keeps them."""

    def __init__(
        self, job_id: str, state: Mapping[str, str], job: bytes, attempts: list[bytes], *, payloads: bool = True
    ) -> None:
        """Without `payloads` nothing is shown of what was sent and answered: who may not read it sees null."""
        self.job_id = job_id
        self.job: Job = decode_job(job)
        self.status = Status(state["status"])
        self.attempts = int(state["attempt"])
        self.log: list[Attempt] = [decode_attempt(entry) for entry in attempts[: self.attempts]]
        if not payloads:
            callback = self.job.callback
            hidden = replace(callback, headers={}) if callback is not None else None
            self.job = replace(self.job, payload=_NOTHING, headers={}, callback=hidden)
            self.log = [replace(entry, response=_NOTHING) for entry in self.log]
        elif self.job.redact:
            self.job = replace(self.job, payload=redacted_payload(self.job.payload, self.job.redact))
        self._state = state

    @property
    def callback_url(self) -> str | None:
        target = self.job.calls_back
        return target.url if target is not None else None

    @property
    def final(self) -> bool:
        return self.status in FINAL_STATUSES

    @property
    def state(self) -> dict[str, str]:
        """The fields that the store keeps."""
        return dict(self._state)

    def text(self, field: str) -> str:
        return self._state.get(field, "")

    def number(self, field: str) -> int:
        return int(self._state.get(field) or 0)

    def time(self, field: str) -> str | None:
        return rfc3339(ms) if (ms := self.number(field)) else None

    @property
    def scheduled(self) -> str | None:
        """When the job was to run first, if that was not at once."""
        if self.job.run_at is not None:
            return rfc3339(parse_rfc3339(self.job.run_at))
        return rfc3339(self.number("created") + self.job.delay) if self.job.delay else None


def seed_document(record: Record) -> bytes:
    """`GET /api/job/{jobId}`: numbers as strings; `scheduled` shows as queued and `waiting` as in_progress.

    Secrets are redacted here too, which the seed does not ask for.
    """
    job = record.job
    document: dict[str, Any] = {
        "status": _SHOWN_AS.get(record.status, record.status),
        "attempts": str(record.attempts),
        "targetUrl": job.target_url,
        "method": job.method,
        "headers": redacted(job.headers),
        "payload": job.payload,
        "callbackUrl": record.callback_url,
        "maxRetries": str(job.max_retries),
        "retryDelay": str(job.retry_delay),
        "createdAt": record.time("created"),
        "updatedAt": record.time("updated"),
    }
    if record.final:
        document["lastResponse"] = record.log[-1].response if record.log else None
        document["error"] = record.text("error")
    document["attemptsLog"] = [_seed_entry(entry) for entry in record.log]
    return _encode(document)


def _seed_entry(entry: Attempt) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "attempt": entry.attempt,
        "statusCode": entry.status_code,
        "success": entry.success,
        "timestamp": entry.timestamp,
    }
    if entry.status_code is not None:
        shown["response"] = entry.response
    if entry.error:
        shown["error"] = entry.error
    if entry.truncated:
        shown["truncated"] = True
    return shown


def typed_document(record: Record, explanation: msgspec.Struct | None = None) -> bytes:
    """`GET /api/jobs/{jobId}`: the same job with numbers as numbers, what comes next, and its explanation if any."""
    job = record.job
    last = record.log[-1] if record.log else None
    response = None
    if last is not None and last.status_code is not None:
        response = {
            "status": last.status_code,
            "body": last.response,
            **({"truncated": True} if last.truncated else {}),
        }
    return _encode(
        {
            "jobId": record.job_id,
            "status": record.status,
            "targetUrl": job.target_url,
            "method": job.method,
            "headers": redacted(job.headers),
            "payload": job.payload,
            "redact": job.redact,
            "sign": job.sign,
            "callbackUrl": record.callback_url,
            "maxRetries": job.max_retries,
            "retryDelay": job.retry_delay,
            "priority": job.priority,
            "labels": job.labels,
            "success": {"statuses": job.success.statuses},
            "scheduledAt": record.scheduled,
            "expiresAt": record.time("expires"),
            "timeout": job.timeout,
            "retry": {
                "strategy": job.retry.strategy,
                "maxDelay": job.retry.max_delay,
                "jitter": job.retry.effective_jitter,
                "statuses": job.retry.statuses,
            },
            "followRedirects": job.follow_redirects,
            "attempts": record.attempts,
            "earlierAttempts": record.number("base"),
            "generation": record.number("generation"),
            "createdAt": record.time("created"),
            "updatedAt": record.time("updated"),
            "completedAt": record.time("completed"),
            "nextAttemptAt": record.time("eta"),
            "error": record.text("error"),
            # The record keeps the reason of the last failure; of a job that completed after it, it is none.
            "reason": (record.text("reason") or None) if record.status != Status.COMPLETED else None,
            "waitReason": record.text("wait_reason") or None,
            "response": response,
            "callback": _callback(record),
            "callbackRequest": _callback_request(job.calls_back) if job.calls_back is not None else None,
            "attemptsLog": [_typed_entry(entry) for entry in record.log],
            **({"explanation": explanation} if explanation is not None else {}),
        }
    )


def _typed_entry(entry: Attempt) -> dict[str, Any]:
    more = {"generation": entry.generation, "durationMs": entry.duration_ms, "reason": entry.reason or None}
    return _seed_entry(entry) | more


def _callback(record: Record) -> dict[str, Any]:
    """`none` (not wanted), `pending`, `delivered` or `failed`."""
    status = record.text("callback") or ("pending" if record.job.calls_back is not None else "none")
    return {
        "status": status,
        "attempts": record.number("callback_attempt"),
        "lastError": record.text("callback_error") or None,
        "nextAttemptAt": record.time("callback_eta"),
    }


def _callback_request(callback: Callback) -> dict[str, Any]:
    """What is called back, and how; `retry` and `timeout` null: as configured."""
    return {
        "url": callback.url,
        "method": callback.method,
        "headers": redacted(callback.headers),
        "events": callback.events,
        "retry": _callback_retry(callback.retry) if callback.retry is not None else None,
        "timeout": callback.timeout,
    }


def _callback_retry(retry: CallbackRetry) -> dict[str, Any]:
    return {
        "maxRetries": retry.max_retries,
        "retryDelay": retry.retry_delay,
        "strategy": retry.strategy,
        "maxDelay": retry.max_delay,
        "jitter": retry.policy.effective_jitter,
    }
