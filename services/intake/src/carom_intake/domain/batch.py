"""From the body of a batch to its jobs, each still to be read on its own: one that is wrong spoils no other."""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from carom_intake.domain.checks import Problem, escape
from carom_intake.domain.submission import TOO_DEEP, InvalidSubmission

MAX_JOBS = 1000


class _Body(Struct, frozen=True, forbid_unknown_fields=True):
    jobs: Annotated[list[Raw], Meta(min_length=1, max_length=MAX_JOBS)]
    atomic: bool = False


class Batch(NamedTuple):
    """The jobs as JSON; `atomic`: all of them are valid or none is accepted."""

    jobs: list[bytes]
    atomic: bool


_decode = msgspec.json.Decoder(_Body).decode


def parse_batch(body: bytes) -> Batch:
    """Raises InvalidSubmission when the body as a whole is no batch."""
    try:
        batch = _decode(body)
    except msgspec.ValidationError:
        raise InvalidSubmission(list(_problems_of(body))) from None
    except RecursionError:
        raise InvalidSubmission([TOO_DEEP]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSubmission([Problem("", f"the body is not valid JSON: {error}")]) from None
    return Batch([bytes(job) for job in batch.jobs], batch.atomic)


def within(index: int, problems: list[Problem]) -> list[Problem]:
    """Problems of one job, as they point into the batch."""
    return [Problem(f"/jobs/{index}{problem.pointer}", problem.detail) for problem in problems]


def _problems_of(body: bytes) -> Iterator[Problem]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # broken further on than where the first was found
        yield Problem("", f"the body is not valid JSON: {error}")
        return
    except RecursionError:
        yield TOO_DEEP
        return
    if not isinstance(document, dict):
        yield Problem("", "the body must be a JSON object")
        return
    yield from _unknown(document)
    jobs: Any = document.get("jobs")
    if "jobs" not in document:
        yield Problem("/jobs", "is required")
    elif not isinstance(jobs, list):
        yield Problem("/jobs", f"must be an array of 1 to {MAX_JOBS} jobs")
    elif not 1 <= len(jobs) <= MAX_JOBS:
        yield Problem("/jobs", f"has {len(jobs)} jobs, 1 to {MAX_JOBS} are taken")
    if not isinstance(document.get("atomic", False), bool):
        yield Problem("/atomic", "must be true or false")


def _unknown(document: dict[str, Any]) -> Iterator[Problem]:
    unknown = [name for name in document if name not in ("jobs", "atomic")]
    for name in unknown[:100]:
        yield Problem(f"/{escape(name[:200])}", "unknown field; known are jobs, atomic")
