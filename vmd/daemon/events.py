"""What happened: one stream of typed events, each with the one that brought it about, for any number of listeners.

Who caused what needs no bookkeeping by those who do it: the cause travels in the context of the task (contextvars),
and a task inherits it from the one that made it. `kinds.KINDS` says which events begin a link of the chain.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from .chronicle import Chronicle, Event
from .kinds import KINDS, Kind

HISTORY = 2000
"""How many past events are kept in memory."""

BACKLOG = 4000
"""How many events a listener may lag behind before it is told that it missed some."""

log = logging.getLogger("vmd.events")


class Link(NamedTuple):
    """An event that what comes next is caused by, and what had caused that."""

    id: int
    before: Link | None
    step: object = None
    """The step it began, if it did."""


_CAUSE: ContextVar[Link | None] = ContextVar("cause", default=None)


def cause() -> int | None:
    """The id of the event that what is done now is caused by."""
    link = _CAUSE.get()
    return link.id if link else None


def continue_from(event: int | None) -> None:
    """Let what this task does from here on be caused by that event: by none, if None."""
    _CAUSE.set(Link(event, None) if event else None)


class Listener:
    """One reader of the stream: only events of its guests, or all."""

    def __init__(self, guests: frozenset[str] | None) -> None:
        self._guests = guests
        self._queue: deque[Event] = deque(maxlen=BACKLOG)
        self._news = asyncio.Event()
        self._missed = 0

    def offer(self, event: Event) -> None:
        """Take an event if it is of interest; the oldest gives way when nobody reads."""
        if concerns(event, self._guests):
            self._missed += len(self._queue) == BACKLOG
            self._queue.append(event)
            self._news.set()

    def taken(self) -> Iterator[Event]:
        """What has come since the last look."""
        self._news.clear()
        if self._missed:
            gap, first, self._missed = self._missed, self._queue[0], 0
            about = {"id": first["id"], "time": first["time"], "guest": None, "because": None}
            yield {**about, "event": "missed", "count": gap}
        while self._queue:
            yield self._queue.popleft()

    async def wait(self) -> None:
        """Return when there is something to take."""
        await self._news.wait()


def concerns(event: Event, guests: frozenset[str] | None) -> bool:
    """Whether who looks at these guests wants to hear of it; None looks at all there is.

    Of what befalls no guest by itself that is a request that names one, and the progress of an ISO they may wait for.
    """
    if guests is None or event["guest"] in guests:
        return True
    if event["event"] == "request":
        return not guests.isdisjoint(event["guests"])
    return event["event"] == "progress" and event["guest"] is None


class Events:
    """The stream. ``emit`` never waits: a slow listener, or a slow disk, costs nobody anything."""

    def __init__(self, chronicle: Chronicle | None = None) -> None:
        self.chronicle = chronicle
        self.past: deque[Event] = deque(chronicle.recent() if chronicle else (), maxlen=HISTORY)
        self._next = self.past[-1]["id"] + 1 if self.past else 1
        self._listeners: set[Listener] = set()

    def emit(self, event: str, guest: str | None, **facts: object) -> Event:
        """Tell everyone. ``event`` is its kind, ``facts`` what belongs to that kind."""
        kind = KINDS[event]
        # what is heard is dated by the wall clock, for people; nothing is measured with it
        said: Event = {**self._about(event, guest), **facts}
        _chain(kind, said)
        if kind.kept:
            self.past.append(said)
            if self.chronicle:
                self.chronicle.keep(said)
        write(said)
        for listener in self._listeners:
            listener.offer(said)
        return said

    def finish(self, outcome: Mapping[str, Any]) -> Event:
        """The last word of one request: nobody hears it but who asked."""
        said = {**self._about("outcome", None), **outcome}
        write(said)
        return said

    def _about(self, event: str, guest: str | None) -> Event:
        number, self._next = self._next, self._next + 1
        because = None if KINDS[event].chain == "first" else cause()
        return {"id": number, "time": round(time.time(), 3), "guest": guest, "event": event, "because": because}

    def last(self, guest: str, event: str, **facts: object) -> int | None:
        """The id of the last event of this kind and with these facts that befell a guest, if it is remembered."""
        wanted = {"guest": guest, "event": event, **facts}.items()
        return next((past["id"] for past in reversed(self.past) if wanted <= past.items()), None)

    @contextmanager
    def listen(self, guests: frozenset[str] | None = None) -> Iterator[Listener]:
        """Hear what is emitted from now on."""
        listener = Listener(guests)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


def _chain(kind: Kind, event: Event) -> None:
    """Move the chain of causes of the task that emits."""
    link, step = _CAUSE.get(), event.get("step")
    if kind.chain in ("begins", "first"):
        _CAUSE.set(Link(event["id"], link, step))
    elif kind.chain == "ends" and link and link.step == step:
        _CAUSE.set(link.before)


def write(event: Event) -> None:
    """Write an event to the log: a line for people, and fields for the journal (``VMD_…``)."""
    kind = KINDS[event["event"]]
    if log.isEnabledFor(kind.level):
        log.log(kind.level, "%s", sentence(event), extra={"journal": fields(event)})


class _Shown(dict[str, object]):
    """Facts for a sentence; one that is not there costs its word, never the work that told of it."""

    def __missing__(self, fact: str) -> str:
        return "?"


def sentence(event: Event) -> str:
    """Say it in a line, led by the guest it befell."""
    text = KINDS[event["event"]].says.format_map(_Shown({name: _word(fact) for name, fact in event.items()}))
    text = " ".join(text.split())
    return f"{event['guest']}: {text}" if event["guest"] else text


def _word(fact: object) -> object:
    return (", ".join(map(str, fact)) or "none") if isinstance(fact, list) else fact


def fields(event: Event) -> dict[str, str]:
    """Its facts as the journal takes them: ``VMD_GUEST``, ``VMD_EVENT``, ``VMD_STEP``; what is null is left out."""
    named = {f"VMD_{name.upper()}": fact for name, fact in event.items() if name != "time"}
    return {
        name: " ".join(map(str, fact)) if isinstance(fact, list) else str(fact)
        for name, fact in named.items()
        if fact is not None and not isinstance(fact, dict)
    }
