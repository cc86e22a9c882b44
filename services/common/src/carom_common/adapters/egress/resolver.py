"""Looking names up, so that names about which nobody answers keep no others waiting.

The C library blocks for as long as a name server is silent, for 10 s by default and longer than any call waits. uvloop
has four threads for that in all, and needs them for broker and store too: five jobs for such names stop everything.
So lookups of calls have threads of their own, and names that were found before have some that strangers never take.
"""

import asyncio
import contextlib
import socket
from collections import OrderedDict
from queue import SimpleQueue
from threading import Thread
from time import monotonic

from aiohttp.abc import AbstractResolver, ResolveResult

KNOWN_THREADS, OTHER_THREADS = 16, 64
REMEMBERED = 10_000
"""Names that were found."""
WAIT_SECONDS = 10.0
"""A lookup that found no thread for so long is given up: most of those who wanted it have gone."""

_FLAGS = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_Found = tuple[socket.AddressFamily, int, str]
_Answer = asyncio.Future[list[_Found]]
_Lookup = tuple[float, str, int, socket.AddressFamily, _Answer]


class PatientResolver(AbstractResolver):
    """The C library's answers, in its order. Raises OSError (gaierror) or UnicodeError, as it does."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._for_known = _Threads(KNOWN_THREADS)
        self._for_others = _Threads(OTHER_THREADS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        threads = self._for_known if host in self._known else self._for_others
        found = await threads.look_up(host, port, family)
        self._known[host] = None
        self._known.move_to_end(host)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=proto, flags=_FLAGS)
            for family, proto, address in found
        ]

    async def close(self) -> None:
        """Threads that still wait for an answer end with the process."""
        self._for_known.end()
        self._for_others.end()


class _Threads:
    """At most so many, made when they are needed. Daemons: an exit waits for no name server."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._started = self._idle = 0
        self._asked: SimpleQueue[_Lookup | None] = SimpleQueue()

    async def look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[_Found]:
        answer: _Answer = self._loop.create_future()
        if not self._idle and self._started < self._count:
            self._started += 1
            Thread(target=self._work, name="names", daemon=True).start()
        else:
            self._idle = max(0, self._idle - 1)
        self._asked.put((monotonic(), host, port, family, answer))
        return await answer

    def end(self) -> None:
        for _ in range(self._started):
            self._asked.put(None)

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            since, host, port, family, answer = asked
            found: list[_Found] | Exception
            try:
                if monotonic() - since > WAIT_SECONDS:
                    raise socket.gaierror(socket.EAI_AGAIN, "too many names wait for an answer")
                found = _addresses(host, port, family)
            except Exception as error:  # whatever it is, somebody waits for it
                found = error
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._answered, answer, found)

    def _answered(self, answer: _Answer, found: list[_Found] | Exception) -> None:
        self._idle += 1
        if answer.done():
            return
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[_Found]:
    """Numeric, with the scope of a link-local one."""
    infos = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return [(kind, proto, socket.getnameinfo(address, numeric)[0]) for kind, _, proto, _, address in infos]
