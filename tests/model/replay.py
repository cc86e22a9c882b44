"""Runs on the real store what a step of the model ran on its own, and reads the record back in the model's words."""

import re
from typing import Any

from model.running import Run, Step
from model.shapes import FREE, GONE, HELD, NOBODY, OVER, Message, Outcome, Owner, Record

from carom_common.adapters.store.acts import Acted, Acts, Refused
from carom_common.adapters.store.records import log_key, state_key
from carom_common.adapters.store.store import Lease, Store
from carom_common.adapters.store.transitions import Claim, Settlement, stored_settlement
from carom_common.contracts.job import Job, encode_job
from carom_common.contracts.message import VERSION, Attempt, CallbackMessage, ExecuteMessage
from carom_common.domain.clock import now_ms

TENANT = "default"
FAR = 4_000_000_000_000
KEPT = 86_400


class Replay:
    """One job in the real store, beside one walk of the model."""

    def __init__(self, url: str, job_id: str, calls_back: bool) -> None:
        self.store = Store(url, KEPT, KEPT)
        self.acts = Acts(self.store.batcher, KEPT, KEPT)
        self.job_id = job_id
        self.job = Job(target_url="http://t.example/", callback_url="http://c.example/" if calls_back else None)
        self.keys = (state_key(job_id), log_key(job_id))
        self.lives = [0, 0, 0, 0]
        """How often each process was started anew."""
        self.saved: list[Any] = [None, None]

    async def follow(self, step: Step) -> None:
        """Do what the step did to the store; AssertionError when a script answers otherwise."""
        for run in step.ran:
            said = await self.run(run)
            assert said is None or said == run.reply, f"{run}: {said}"
        after = step.world
        redis = self.store.batcher.run
        if killed := re.match(r"worker (\d) is (killed|shut down)", step.label):
            self.lives[int(killed[1])] += 1
        elif step.label == "the store saves":
            self.saved = [await redis("DUMP", key) for key in self.keys]
        elif step.label == "the store loses all data":
            await redis("DEL", *self.keys)
        elif step.label == "the store loses its last writes":
            await redis("DEL", *self.keys)
            for key, dump in zip(self.keys, self.saved, strict=True):
                if dump is not None:
                    await redis("RESTORE", key, 0, dump)
        elif " runs out" in step.label:
            field = "lease" if step.label.startswith("the lease") else "callback_lease"
            await redis("HSET", self.keys[0], field, 1)
        record = await self.record()
        assert record == after.record, f"{step.label}:\n the store has {record}\n the model   {after.record}"

    async def run(self, run: Run) -> tuple[Any, ...] | None:
        """What the real script answers; None where its method does not tell."""
        if run.script == "act":
            name, token, _ = run.detail
            return await self.act(str(name), int(str(token)))
        if run.script == "paid":
            await self.acts.paid(self.job_id, "{} t{}".format(*run.detail))
            return None
        assert run.message is not None
        message = self.message(run.message)
        lease = Lease(self.job_id, f"m{run.message.id}", self.owner(run.owner))
        if run.script == "queued":
            assert isinstance(message, ExecuteMessage)
            await self.store.executions.record_queued(message, encode_job(self.job))
            return None
        if isinstance(message, ExecuteMessage):
            return await self._execute(run, message, lease)
        return await self._callback(run, message, lease)

    async def act(self, name: str, token: int) -> tuple[Any, ...]:
        acted = await self.acts.act(name, self.job_id, TENANT, f"t{token}")  # type: ignore[arg-type]
        if isinstance(acted, Acted):
            return ("ok", int(acted.fresh))
        return ("refused", acted.why) if isinstance(acted, Refused) else ("unknown",)

    async def _execute(self, run: Run, message: ExecuteMessage, lease: Lease) -> tuple[Any, ...] | None:
        executions = self.store.executions
        if run.script == "claim":
            return _said(await executions.claim(message, lease, ask_only=bool(run.detail[0])), execute=True)
        if run.script == "release":
            await executions.release(lease)
            return None
        outcome = run.detail[0]
        assert isinstance(outcome, Outcome)
        entry = _entry(message.attempt) if outcome.called else None
        eta = FAR if outcome.status == "waiting" else 0
        status: Any = outcome.status
        settlement = Settlement(status, now_ms(), eta, "", outcome.dead, "", entry)
        return ("ok",) if await executions.settle(message, lease, settlement) else ("refused",)

    async def _callback(self, run: Run, message: CallbackMessage, lease: Lease) -> tuple[Any, ...] | None:
        callbacks = self.store.callbacks
        if run.script == "claim":
            return _said(await callbacks.claim(message, lease, ask_only=bool(run.detail[0])), execute=False)
        if run.script == "release":
            await callbacks.release(message, lease)
            return None
        outcome = run.detail[0]
        assert isinstance(outcome, Outcome)
        status: Any = outcome.status
        eta = FAR if status == "pending" else 0
        return ("ok",) if await callbacks.settle(message, lease, status, eta, "", outcome.dead) else ("refused",)

    def message(self, message: Message) -> ExecuteMessage | CallbackMessage:
        carried = message.attempt - 1 if message.kind == "execute" else message.attempts
        attempts = tuple(_entry(number) for number in range(1, carried + 1))
        eta = FAR if message.eta else 0
        if message.kind == "execute":
            return ExecuteMessage(
                VERSION, TENANT, self.job_id, self.job, 1, message.generation, message.attempt, eta, attempts,
                base=message.base,
            )  # fmt: skip
        status: Any = message.status
        return CallbackMessage(
            VERSION, TENANT, self.job_id, self.job, 1, status, 2, dead=message.dead, generation=message.generation,
            attempts=attempts, callback_generation=message.callback_generation,
            callback_attempt=message.callback_attempt, eta=eta,
        )  # fmt: skip

    def owner(self, owner: Owner) -> str:
        return f"{owner[0]}.{self.lives[owner[0]]}/m{owner[1]}"

    async def record(self) -> Record | None:
        """The record in the model's words."""
        stored = await self.store.state_of(self.job_id)
        if stored is None:
            return None
        length = await self.store.batcher.run("LLEN", self.keys[1])
        assert length == int(stored["attempt"]) + 1, f"{length - 1} attempts are logged: {stored}"
        owed = stored.get("owed", "").split()
        return Record(
            generation=int(stored["generation"]),
            attempt=int(stored["attempt"]),
            status=stored["status"],
            eta=stored.get("eta", "0") != "0",
            settled_by=_number(stored.get("settled_by", "")),
            owner=self._owner_in(stored.get("owner", "")),
            lease=_lease(stored.get("lease", "0")),
            dead=stored.get("dead") == "1",
            base=int(stored.get("base", "0")),
            callback=stored.get("callback", ""),
            callback_generation=int(stored.get("callback_generation", "0")),
            callback_attempt=int(stored.get("callback_attempt", "0")),
            callback_settled_by=_number(stored.get("callback_settled_by", "")),
            callback_owner=self._owner_in(stored.get("callback_owner", "")),
            callback_lease=_lease(stored.get("callback_lease", "0")),
            callback_claimed=stored.get("callback_claims", "0") != "0",
            callback_eta=stored.get("callback_eta", "0") != "0",
            callback_dead=stored.get("callback_dead") == "1",
            owed=(owed[0], _number(owed[1])) if owed else (),
            acted=_number(stored.get("acted", "")),
            stale="stale_until" in stored,
        )

    def _owner_in(self, owner: str) -> Owner:
        if not owner:
            return NOBODY
        process, life, number = (int(part) for part in re.findall(r"\d+", owner))
        return (process, number) if life == self.lives[process] else GONE


def _said(claim: Claim, execute: bool) -> tuple[Any, ...]:
    if claim.verdict == "drop":
        return ("drop", claim.why)
    if claim.verdict != "settled":
        return (claim.verdict,)
    if execute:
        settled = stored_settlement(claim.stored)
        return ("settled", Outcome(settled.status, settled.dead, settled.entry is not None))
    status, _, _, dead = claim.stored
    return ("settled", Outcome(status.decode(), dead == b"1"))


def _entry(attempt: int) -> Attempt:
    return Attempt(attempt, 500, False, "2026-01-01T00:00:00Z")


def _number(name: str) -> int:
    """Message ids are m1, m2 .., tokens t1, t2 .."""
    return int(name[1:] or 0)


def _lease(until: str) -> int:
    return FREE if until == "0" else HELD if int(until) > now_ms() else OVER
