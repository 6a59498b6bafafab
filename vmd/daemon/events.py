"""What happened: one stream of events, for any number of listeners."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Event = dict[str, Any]

HISTORY = 2000
"""How many past events are kept in memory."""

BACKLOG = 4000
"""How many events a listener may lag behind before it is told that it missed some."""


class Listener:
    """One reader of the stream: only events of its guests, or all."""

    def __init__(self, guests: frozenset[str] | None) -> None:
        self._guests = guests
        self._queue: deque[Event] = deque(maxlen=BACKLOG)
        self._news = asyncio.Event()

    def offer(self, event: Event) -> None:
        """Take an event if it is of interest; the oldest gives way when nobody reads."""
        if self._guests is None or event["guest"] is None or event["guest"] in self._guests:
            self._queue.append(event)
            self._news.set()

    def taken(self) -> Iterator[Event]:
        """What has come since the last look."""
        self._news.clear()
        while self._queue:
            yield self._queue.popleft()

    async def wait(self) -> None:
        """Return when there is something to take."""
        await self._news.wait()


class Events:
    """The stream. ``emit`` never waits: a slow listener costs nobody anything."""

    def __init__(self) -> None:
        self.past: deque[Event] = deque(maxlen=HISTORY)
        self._listeners: set[Listener] = set()

    def emit(self, event: str, guest: str | None, **facts: object) -> Event:
        """Tell everyone. ``event`` is its kind, ``facts`` what belongs to that kind."""
        # what is heard is dated by the wall clock, for people; nothing is measured with it
        said: Event = {"time": round(time.time(), 3), "guest": guest, "event": event, **facts}
        self.past.append(said)
        for listener in self._listeners:
            listener.offer(said)
        return said

    @contextmanager
    def listen(self, guests: frozenset[str] | None = None) -> Iterator[Listener]:
        """Hear what is emitted from now on."""
        listener = Listener(guests)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
