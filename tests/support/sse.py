"""A client of event streams that reads them as the standard says (WHATWG HTML, 9.2.6)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.support.waiting import WITHIN


@dataclass
class Event:
    """One event that was dispatched; `id` is the last event id then."""

    id: str
    event: str
    data: Any


@dataclass
class EventSource:
    """An open stream. `last_id` is what a client would resume with; `comments` are those seen so far."""

    response: httpx.Response
    last_id: str = ""
    retry: int = 0
    ended: bool = False
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._events = self._read()

    async def next(self, within: float = WITHIN) -> Event | None:
        """The next event, or None when the server has ended the stream."""
        async with asyncio.timeout(within):
            return await anext(self._events, None)

    async def until(self, *names: str, within: float = WITHIN) -> list[Event]:
        """All events up to the first of one of these names."""
        found: list[Event] = []
        async with asyncio.timeout(within):
            async for event in self._events:
                found.append(event)
                if event.event in names:
                    return found
        raise AssertionError(f"the stream ended before any of {names}: {found}")

    async def rest(self, within: float = WITHIN) -> list[Event]:
        """All events until the server ends the stream."""
        async with asyncio.timeout(within):
            return [event async for event in self._events]

    async def _read(self) -> AsyncIterator[Event]:
        name, data = "", list[str]()
        async for line in self.response.aiter_lines():
            label, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    yield Event(self.last_id, name or "message", json.loads("\n".join(data)))
                name, data = "", []
            elif not label:
                self.comments.append(value)
            elif label == "id":
                self.last_id = value
            elif label == "event":
                name = value
            elif label == "data":
                data.append(value)
            elif label == "retry":
                self.retry = int(value)
        self.ended = True


@contextlib.asynccontextmanager
async def listen(
    base: str, path: str, last_id: str | None = None, *, token: str | None = None, **params: Any
) -> AsyncIterator[EventSource]:
    """Open a stream that must be given."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id is not None else {})
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx.AsyncClient(base_url=base, trust_env=False, timeout=60) as client,
        client.stream("GET", path, headers=headers, params=params) as response,
    ):
        if response.status_code != 200:
            await response.aread()
            raise AssertionError(f"{path}: {response.status_code} {response.text}")
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        yield EventSource(response)
