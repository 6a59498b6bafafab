"""Looking back: what happened since then, and why a guest is what it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice

from .chronicle import Event
from .events import Events, concerns

AT_ONCE = 500
"""How many events are read from the disk before whoever asked is told of them."""

FARTHEST = 50
"""How many causes are followed: a chain is a handful long, and one from a damaged file must end as well."""


async def told(
    events: Events, *, since: float | None = None, guests: frozenset[str] | None = None, go_on: bool = False
) -> AsyncIterator[Event]:
    """Tell what happened: since then, or what memory holds; of some guests, or of everything; and what comes."""
    with events.listen(guests) as listener:
        last = 0
        async for event in _before(events, since):
            if event["id"] > last:
                last = event["id"]
                if event["time"] >= (since or 0) and concerns(event, guests):
                    yield event
        while go_on:
            for event in listener.taken():
                if event["id"] > last:
                    yield event
            await listener.wait()


async def _before(events: Events, since: float | None) -> AsyncIterator[Event]:
    """What is remembered, the oldest first; from the disk only what memory doesn't reach back to."""
    reaches = since is None or (events.past and events.past[0]["time"] < since)
    if events.chronicle and not reaches:
        await events.chronicle.flush()
        async for event in _piecewise(events.chronicle.whole()):
            yield event
    for event in tuple(events.past):
        yield event


async def _piecewise(kept: Iterator[Event]) -> AsyncIterator[Event]:
    while piece := await asyncio.to_thread(lambda: list(islice(kept, AT_ONCE))):
        for event in piece:
            yield event


async def chain(events: Events, name: str) -> list[Event]:
    """What a guest is, what brought that about, what that, and so on: the newest first."""
    memory = {event["id"]: event for event in events.past}
    newest = _newest(memory.values(), name)
    found = _followed(newest, memory.get) if newest else []
    if events.chronicle and (not found or found[-1]["because"]):
        await events.chronicle.flush()
        kept = {event["id"]: event async for event in _piecewise(events.chronicle.whole()) if _leads(event, name)}
        newest = newest or _newest(kept.values(), name)
        found = _followed(newest, (kept | memory).get) if newest else []
    return found


def _leads(event: Event, name: str) -> bool:
    return event["guest"] in (name, None) and event["event"] != "rung"


def _newest(events: Iterable[Event], name: str) -> Event | None:
    """The last word on what a guest is."""
    return next(
        (event for event in reversed(list(events)) if event["guest"] == name and event["event"] == "state"), None
    )


def _followed(event: Event, find: Callable[[int], Event | None]) -> list[Event]:
    found = [event]
    while (because := event.get("because")) and because < event["id"] and len(found) < FARTHEST:
        before = find(because)
        if before is None:
            break
        found.append(event := before)
    return found
