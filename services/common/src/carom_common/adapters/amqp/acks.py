"""Collecting acks: many deliveries, few frames. `multiple` covers only what has no unfinished delivery before it."""

import asyncio

from carom_common.adapters.amqp.channel import Channel

FLUSH_SECONDS = 0.005


class AckBatch:
    """Acks of one channel, flushed together a few milliseconds after the first of them."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._acked: set[int] = set()
        self._settled_up_to = 0
        self._gone: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None

    def ack(self, tag: int) -> None:
        self._acked.add(tag)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self.flush)

    def requeue(self, tag: int) -> None:
        if self._channel.closed.done():
            return
        self._channel.requeue(tag)
        self._gone.add(tag)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._channel.closed.done() or not self._acked:
            return
        top, contiguous = self._settled_up_to, 0
        while (following := top + 1) in self._acked or following in self._gone:
            top = following
            if top in self._acked:
                contiguous = top
            else:
                self._gone.remove(top)  # one by one: behind a slow call, many thousands may be gone
        if contiguous:
            self._channel.ack(contiguous, multiple=True)
        for tag in self._acked:
            if tag > top:
                self._channel.ack(tag)
                self._gone.add(tag)
        self._acked.clear()
        self._settled_up_to = top
