"""Dead letters whose job the store does not know: their records are made anew, so that they are listed and redriven.

The dead queues are read only when the store has come back empty since they were read last, or when that is asked for:
each reading counts as a delivery of every message (until RabbitMQ 4.3), and 4.0 to 4.2 drop one after 20 of them where
no policy says otherwise.
"""

from carom_common.adapters.amqp.looking import Letter as Found
from carom_common.adapters.amqp.looking import Looker
from carom_common.adapters.store.revival import Revival
from carom_common.adapters.store.survey import Survey
from carom_common.contracts.message import Undecodable, decode_callback, decode_execute
from carom_common.contracts.sealing import Vault
from carom_common.domain.clock import now_ms
from carom_common.telemetry.logging import get_logger
from carom_common.topology import DEAD_CALLBACK_QUEUE, DEAD_EXECUTE_QUEUE
from carom_intake.domain.fsck import Letter, letter_of_callback, letter_of_job
from carom_intake.fsck.report import Report

MOST_DELIVERIES = 10
"""Of a message that was delivered so often its queue is read no further: half of what RabbitMQ 4.0 allows."""
MENDED = "mended"

log = get_logger()


class Letters:
    """Raises BrokerError and StoreUnavailable: then nothing is lost, and nothing is noted as read."""

    def __init__(self, looker: Looker, survey: Survey, revival: Revival, vault: Vault, report: Report) -> None:
        self._looker = looker
        self._survey = survey
        self._revival = revival
        self._vault = vault
        self._report = report

    async def look(self, *, always: bool) -> None:
        """Read both dead queues, unless that was done since the store was empty last."""
        done = await self._survey.letters_read()
        if done == MENDED and not always:
            return
        if done and not self._report.repair and not always:
            missing = int(done.partition(" ")[2] or 0)
            if missing:
                self._report.counts["dead-letter-without-record"].found += missing
            return
        # Callbacks first: of a job that is in both queues theirs say more.
        whole = True
        for queue in (DEAD_CALLBACK_QUEUE, DEAD_EXECUTE_QUEUE):
            whole = await self._read(queue) and whole
        if whole:
            count = self._report.counts["dead-letter-without-record"]
            left = count.found - count.repaired
            await self._survey.note_letters_read(f"seen {left}" if left or not self._report.repair else MENDED)

    async def _read(self, queue: str) -> bool:
        """Whether all of the queue was read."""
        async for found in self._looker.letters(queue):
            if found.deliveries >= MOST_DELIVERIES:
                why = f"its messages were delivered {found.deliveries} times: set a policy with delivery-limit first"
                self._report.leave_out(queue, why)
                return False
            try:
                letter = self._letter(queue, found)
            except Undecodable as error:
                self._report.leave_out(queue, f"a message cannot be read: {error}")
                continue
            await self._mend(letter)
        return True

    def _letter(self, queue: str, found: Found) -> Letter:
        if queue == DEAD_EXECUTE_QUEUE:
            return letter_of_job(decode_execute(found.body, self._vault))
        return letter_of_callback(decode_callback(found.body, self._vault), str(found.headers.get("reason") or ""))

    async def _mend(self, letter: Letter) -> None:
        job_id = letter.message.job_id
        if self._revival.keep_until(letter.completed) <= now_ms() or await self._revival.known(job_id):
            return
        made = self._report.repair and await self._revival.revive(*letter)
        self._report.add("dead-letter-without-record", job_id, repaired=bool(made))
        log.warning("fsck_found", what="dead-letter-without-record", job_id=job_id, repaired=bool(made))
