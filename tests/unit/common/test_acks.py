"""Batched acks: `multiple` must never cover a delivery that is not finished."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from carom_common.adapters.amqp.acks import AckBatch


class Broker:
    """Keeps account as a broker's channel does: what is outstanding, and what an ack takes."""

    def __init__(self, deliveries: int) -> None:
        self.outstanding = set(range(1, deliveries + 1))
        self.acked: set[int] = set()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ack(self, tag: int, multiple: bool = False) -> None:
        taken = {t for t in self.outstanding if t <= tag} if multiple else {tag} & self.outstanding
        assert taken, f"unknown delivery tag {tag}"
        self.outstanding -= taken
        self.acked |= taken

    def requeue(self, tag: int) -> None:
        assert tag in self.outstanding
        self.outstanding.discard(tag)


@given(st.permutations(range(1, 13)), st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)), st.integers(1, 5))
def test_exactly_what_is_finished_is_acked(
    order: list[int], unfinished: set[int], requeued: set[int], step: int
) -> None:
    async def scenario() -> None:
        broker = Broker(12)
        batch = AckBatch(broker)  # type: ignore[arg-type]
        finished: set[int] = set()
        for count, tag in enumerate(order):
            if tag in unfinished:
                continue
            if tag in requeued:
                batch.requeue(tag)
            else:
                batch.ack(tag)
                finished.add(tag)
            if count % step == 0:
                batch.flush()
                assert broker.acked == finished
        batch.flush()
        assert broker.acked == finished
        assert broker.outstanding == unfinished

    asyncio.run(scenario())
