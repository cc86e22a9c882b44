"""One check of broker and store, from the records to the report.

Whatever is published again carries the generation and attempt of before, so the fences drop it where the first message
turns up after all: being wrong costs a message, never a call. So nothing has to be marked, and a check that is killed
anywhere leaves nothing undone that the next one does not find.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from carom_common.adapters.amqp.errors import BrokerError
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.acts import Acts
from carom_common.adapters.store.index import proper
from carom_common.adapters.store.survey import BATCH, Survey
from carom_common.contracts.message import UNREADABLE, CallbackMessage, ExecuteMessage, body_of
from carom_common.contracts.sealing import Unsealable
from carom_common.domain.clock import now_ms
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import traceparent_from
from carom_common.topology import CALLBACK_KEY, WORK, lane_key
from carom_intake.domain.fsck import BRIEF, FIELDS, Step, Suspect, is_open, suspect
from carom_intake.domain.owing import callback_message, execute_message
from carom_intake.fsck.report import Report, What
from carom_intake.fsck.rounds import NotJudgeable, Rounds, Suspects

MAX_SUSPECTS = 200_000
_AT_ONCE = 50
_SHAPE = (*FIELDS, "reason", "dead", "callback_dead")
_FOUND: dict[Step, What] = {"execute": "job-without-message", "callback": "callback-not-published"}
_NAMES: dict[Step, str] = {"execute": "jobs", "callback": "callbacks"}

log = get_logger()


class Options(NamedTuple):
    """Times in seconds. `grace`: what is due for less is left alone. `held`: how long what is held may be away."""

    repair: bool
    wait: float
    grace: float
    held: float
    deep: bool
    dead_letters: bool


class Check:
    """Methods raise BrokerError and StoreUnavailable."""

    def __init__(
        self,
        survey: Survey,
        rounds: Rounds,
        acts: Acts,
        publisher: Publisher,
        report: Report,
        options: Options,
    ) -> None:
        self._survey = survey
        self._rounds = rounds
        self._acts = acts
        self._publisher = publisher
        self._report = report
        self._options = options

    async def run(self) -> None:
        """Find records whose step has no message, and publish it again where that is wanted."""
        before = now_ms() - int(self._options.grace * 1000)
        suspects = await self._suspects(before)
        self._report.suspects = len(suspects)
        steps: tuple[Step, ...] = ("execute", "callback")
        for held in (False, True):
            for step in steps:
                some = {job_id: s for job_id, s in suspects.items() if s.step == step and s.held is held}
                if some:
                    await self._judge(step, some, before, held=held)

    async def _judge(self, step: Step, suspects: Suspects, before: int, *, held: bool) -> None:
        try:
            if held:
                suspects = await self._rounds.not_coming_back(suspects, before, self._options.held)
            lost = await self._rounds.without_message(step, suspects, before)
        except NotJudgeable as error:
            name = f"{len(suspects)} {_NAMES[step]}{' that are held' if held else ''}"
            self._report.leave_out(name, str(error), expected=error.expected)
            return
        jobs = list(lost)
        for first in range(0, len(jobs), _AT_ONCE):
            some = jobs[first : first + _AT_ONCE]
            await asyncio.gather(*(self._mend(job_id, lost[job_id], before) for job_id in some))

    async def _suspects(self, before: int) -> Suspects:
        found: Suspects = {}
        async for jobs in self._jobs(before):
            states = await self._survey.fields(jobs, BRIEF)
            asked = [
                job_id
                for job_id, state in zip(jobs, states, strict=True)
                if job_id not in found and is_open(state.get("status"), state.get("callback"))
            ]
            for job_id, state in zip(asked, await self._survey.fields(asked, FIELDS), strict=True):
                if (one := suspect(state, before)) is not None:
                    found[job_id] = one
            if len(found) >= MAX_SUSPECTS:
                self._report.leave_out("the rest", f"more than {MAX_SUSPECTS} jobs are due: check again after these")
                break
        return found

    async def _jobs(self, before: int) -> AsyncIterator[list[str]]:
        """All that is kept, the backlog first."""
        async for jobs in self._survey.indexed("open"):
            yield jobs
        async for jobs in self._survey.indexed("all"):
            self._report.records += len(jobs)
            yield jobs
        if self._options.deep:
            async for jobs in self._survey.kept():
                for first in range(0, len(jobs), BATCH):
                    some = jobs[first : first + BATCH]
                    await self._enter(some, before)
                    yield some

    # Repairs

    async def _enter(self, jobs: list[str], before: int) -> None:
        """Put records into the indexes that they are missing from."""
        for job_id, state in zip(jobs, await self._survey.fields(jobs, _SHAPE), strict=True):
            shown_until = int(state.get("shown_until") or 0)
            created = int(state.get("created") or 0)
            if "status" not in state or "tenant" not in state or 0 < shown_until <= now_ms():
                continue
            if max(created, int(state.get("updated") or 0)) >= before:
                continue
            missing = await self._survey.missing(state["tenant"], job_id, proper(state))
            if not missing:
                continue
            why = ""
            if self._options.repair:
                try:
                    await self._survey.enter(state["tenant"], job_id, created, missing)
                except Unsealable as error:
                    why = str(error)
            self._tell("record-not-in-index", job_id, why)

    async def _mend(self, job_id: str, found: Suspect, before: int) -> None:
        """Publish the next step again, unchanged."""
        why = ""
        if self._options.repair:
            (stored,) = await self._acts.look([job_id])
            if stored is None or (not isinstance(stored, Unsealable) and suspect(stored.state, before) != found):
                return  # it went on a moment ago
            if isinstance(stored, Unsealable):
                why = f"its record cannot be opened: {stored}"
            else:
                make = execute_message if found.step == "execute" else callback_message
                try:
                    await self._send(make(job_id, *stored, traceparent_from(None)))
                except BrokerError as error:
                    why = str(error)
                except (*UNREADABLE, KeyError, ValueError) as error:  # one of them must not keep all others waiting
                    why = f"its record cannot be read: {error!r}"
        self._tell(_FOUND[found.step], job_id, why)

    async def _send(self, message: ExecuteMessage | CallbackMessage) -> None:
        # Beside the others, as what may have to wait: there may be very many, for hosts that are not there.
        key = CALLBACK_KEY
        if isinstance(message, ExecuteMessage):
            key = lane_key(message.job.priority, proven=False)
        await self._publisher.publish(WORK, key, body_of(message, self._acts.vault))

    def _tell(self, what: What, job_id: str, why: str) -> None:
        repaired = self._options.repair and not why
        self._report.add(what, job_id, repaired=repaired, why=why)
        log.warning("fsck_found", what=what, job_id=job_id, repaired=repaired, **({"reason": why} if why else {}))
