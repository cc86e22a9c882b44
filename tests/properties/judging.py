"""Was kept what was promised? Pure: a job's model beside its record and what the witness saw of it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.properties.model import SUPERSEDED, Ending, JobModel
from tests.support.witness import Call, Callback

CANCEL_GRACE = 2.0
"""Seconds within which a call that had begun when its job was cancelled has reached the target."""
PAUSE_GRACE = 2.5
"""Seconds within which every executor holds what is paused."""
CLOCK_GRACE = 0.02
"""Seconds between the reading of two clocks."""
CONFIGURED_RETRIES = 7


@dataclass(frozen=True)
class Pause:
    """From its answer until its end was asked for, by the monotonic clock. `team` None: it held all jobs."""

    team: str | None
    since: float
    until: float

    def forbids(self, job: JobModel, call: Call) -> bool:
        return self.team in (None, job.spec.team) and self.since + PAUSE_GRACE < call.at < self.until


@dataclass(frozen=True)
class Evidence:
    """All that is known of one job at the end. `killed`: kinds of services that were killed meanwhile."""

    document: Mapping[str, Any]
    calls: Sequence[Call]
    callbacks: Sequence[Callback]
    killed: Collection[str] = ()
    pauses: Sequence[Pause] = ()


def judge(job: JobModel, seen: Evidence) -> list[str]:
    """Everything that is wrong, each in a sentence."""
    document, last = seen.document, job.last
    said = (document["status"], document["attempts"])
    ending = next((e for e in last.endings(job.spec) if e[:2] == said), None)
    if document["generation"] != last.number:
        return [f"is of generation {document['generation']}, not {last.number}"]
    if ending is None:
        return [f"ended as {said}, possible: {sorted(last.endings(job.spec))}"]
    return [*_attempts(job, seen), *_calls(job, seen, ending), *_callbacks(job, seen, ending)]


def _spans(job: JobModel, attempts: int) -> dict[int, range]:
    """The attempts that each generation made."""
    ends = [*(generation.start for generation in job.generations[1:]), attempts]
    return {g.number: range(g.start + 1, end + 1) for g, end in zip(job.generations, ends, strict=True)}


def _attempts(job: JobModel, seen: Evidence) -> Iterator[str]:
    """The record keeps every attempt of every generation, with what was answered."""
    log = seen.document["attemptsLog"]
    spans = _spans(job, seen.document["attempts"])
    expected = [(attempt, number) for number, span in spans.items() for attempt in span]
    told = [(entry["attempt"], entry["generation"]) for entry in log]
    if told != expected:
        yield f"the record tells of the attempts {told}, not {expected}"
    for entry in log:
        cut_off = entry["statusCode"] is None and job.spec.ttl is not None
        if not cut_off and entry["statusCode"] != job.spec.answer(entry["attempt"]):
            yield f"attempt {entry['attempt']} is recorded with {entry['statusCode']}"


def _calls(job: JobModel, seen: Evidence, ending: Ending) -> Iterator[str]:
    """Every attempt was made, and none that had no cause; repeats only where an executor was killed."""
    least: Counter[int] = Counter()
    most: Counter[int] = Counter()
    spans = _spans(job, ending.attempts)
    cut_off = {entry["attempt"] for entry in seen.document["attemptsLog"] if entry["statusCode"] is None}
    for generation in job.generations:
        span = spans[generation.number]
        most.update(span)
        least.update(attempt for attempt in span if attempt not in cut_off)
        endings = {ending} if generation is job.last else generation.endings(job.spec)
        begun = any(e.status == "cancelled" for e in endings) and not generation.never_begun
        # A killed executor may have made a call that nobody recorded before the job expired.
        begun |= "executor" in seen.killed and any(e.status == "expired" for e in endings)
        if begun:
            most[span.stop] += 1
    made = Counter(call.attempt for call in seen.calls)
    for attempt in sorted(made | least | most):
        if made[attempt] < least[attempt]:
            yield f"attempt {attempt} was made {made[attempt]} times, not {least[attempt]}"
        if made[attempt] > most[attempt] and not (most[attempt] and "executor" in seen.killed):
            yield f"attempt {attempt} was made {made[attempt]} times, at most {most[attempt]}"
    if job.last.cancelled_at is not None:
        late = [c for c in seen.calls if c.attempt > ending.attempts and c.at > job.last.cancelled_at + CANCEL_GRACE]
        if late:
            yield f"was called {late[0].at - job.last.cancelled_at:.1f} s after it was cancelled"
    for generation in job.generations:
        for attempt, due in generation.due.items():
            at = min((c.at for c in seen.calls if c.attempt == attempt), default=due)
            if attempt in spans[generation.number] and at < due - CLOCK_GRACE:
                yield f"attempt {attempt} was made {due - at:.3f} s before its time"
    for pause in seen.pauses:
        held = [call for call in seen.calls if pause.forbids(job, call)]
        if held:
            yield f"was called {held[0].at - pause.since:.1f} s after it was paused, before the pause ended"


def _callbacks(job: JobModel, seen: Evidence, ending: Ending) -> Iterator[str]:
    report, status = job.spec.report, seen.document["callback"]["status"]
    by_id: defaultdict[str, list[Callback]] = defaultdict(list)
    for callback in seen.callbacks:
        by_id[callback.webhook_id].append(callback)
    known = set(_news_ids(job, ending))
    yield from (f"{name} was never taken" for name in sorted(known) if not any(c.taken for c in by_id[name]))
    for generation in job.generations:
        latest = generation is job.last
        endings = {ending} if latest else generation.endings(job.spec)
        told = {e for e in endings if e.status in report.events}
        attempts = {f"{job.job_id}_{generation.number}_{e.status}": e.attempts for e in told}
        known |= attempts.keys()
        came = [callback for name in attempts for callback in by_id[name]]
        taken = [callback for callback in came if callback.taken]
        certain = len(told) == 1 and SUPERSEDED not in {e.status for e in endings}
        # A job that runs again while its callback is out calls back anew: only what was seen to be delivered must be.
        if certain and not taken and (generation.delivered or (latest and status != "failed")):
            yield f"generation {generation.number} was never called back"
        if certain and latest and status == "failed":
            if taken or not came:
                yield f"the callback is said to have failed; {len(came)} came, {len(taken)} were taken"
        elif latest and status != ("delivered" if told else "none"):
            yield f"the callback is {status}"
        for name in attempts:
            yield from _repeats(name, by_id[name], attempts[name], seen, _most_calls(job, generation.callback_redrives))
    for name in by_id.keys() - known:
        yield f"was called back as {name}, known are {sorted(known)}"


def _news_ids(job: JobModel, ending: Ending) -> Iterator[str]:
    """The webhook-ids of the outcomes of attempts."""
    if "attempt" in job.spec.report.events:
        for number, span in _spans(job, ending.attempts).items():
            yield from (f"{job.job_id}_{number}_attempt_{attempt}" for attempt in span)


def _most_calls(job: JobModel, redrives: int) -> int:
    retries = job.spec.report.retries
    return ((CONFIGURED_RETRIES if retries is None else retries) + 1) * (1 + redrives)


def _repeats(name: str, came: Sequence[Callback], attempts: int, seen: Evidence, most: int) -> Iterator[str]:
    """They all say the same, and end with the one that is taken, unless a killed process knew that no more."""
    if any((c.attempts, c.logged) != (attempts, attempts) or not name.endswith(f"_{c.status}") for c in came):
        yield f"{name} was told as {came}, after {attempts} attempts"
    if "callback" in seen.killed:
        return
    if any(callback.taken for callback in came[:-1]):
        yield f"{name} came again after it was taken"
    if len(came) > most:
        yield f"{name} came {len(came)} times, at most {most}"


def dead_kinds(job: JobModel, document: Mapping[str, Any]) -> set[str]:
    """In which ways a job that is done is a dead letter."""
    kinds = set()
    if any(e.dead and e[:2] == (document["status"], document["attempts"]) for e in job.last.endings(job.spec)):
        kinds.add("execute")
    if document["callback"]["status"] == "failed":
        kinds.add("callback")
    return kinds
