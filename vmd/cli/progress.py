"""What the daemon does, as it does it: lines on stderr, or bars where stderr is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from .show import advance, clean, duration, octets

if TYPE_CHECKING:
    from rich.progress import TaskID

Event = Mapping[str, Any]


class Watcher(Protocol):
    """Tells events to somebody, between being entered and left."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def tell(self, event: Event, line: bytes) -> None:
        """Show one event."""


def watcher(*, as_json: bool) -> Watcher:
    """Choose how to tell: as it came for programs, bars where somebody looks, lines elsewhere."""
    if as_json:
        return Echo()
    return Bars() if sys.stderr.isatty() else Lines()


_SENTENCES: Mapping[str, Callable[[Event], str]] = {
    "step.started": lambda event: f"{event['text']} …",
    "step.done": lambda event: f"{event['text']} … done {duration(event['seconds'])}",
    "step.skipped": lambda event: f"{event['text']} … skipped: {event['why']}",
    "step.failed": lambda event: f"{event['text']} … failed after {duration(event['seconds'])}",
    "progress": advance,
    "rung": lambda event: f"{event['rung']} after {duration(event['seconds'])}",
    "state": lambda event: str(event["state"]),
    "ladder": lambda event: str(event["text"]),
    "exit": lambda event: str(event["text"]),
    "paused": lambda event: f"is paused: {event['why']}",
    "resumed": lambda event: "goes on",
    "restart": lambda event: f"is started again in {duration(event['delay'])}, attempt {event['attempt']}",
    "gave-up": lambda event: str(event["text"]),
    "request": lambda event: f"{event['user']} asked for {' '.join((event['verb'], *event['guests']))}",
    "daemon": lambda event: f"vmd {event['text']}",
    "fleet": lambda event: f"the fleet: {', '.join(event['guests']) or 'none'}{_faults(event['faults'])}",
    "missed": lambda event: f"{event['count']} events were missed",
    "note": lambda event: str(event["text"]),
}


def _faults(faults: list[str]) -> str:
    return f"; {len(faults)} at fault, the first: {faults[0]}" if faults else ""


def sentence(event: Event) -> str:
    """Say an event in words, without whom it befell; nothing if its words are another's to say."""
    say = _SENTENCES.get(event["event"])
    return say(event) if say else ""


def led(event: Event, text: str) -> str:
    """Lead a sentence by the guest it is about."""
    return clean(f"{event['guest']}: {text}" if event.get("guest") else text)


class Echo:
    """Each event as it came, on stdout at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing to undo."""

    def tell(self, event: Event, line: bytes) -> None:
        """Write the line."""
        octets(line)


class Lines:
    """A line for each event; a step that ends at once ends on the line that it began."""

    def __init__(self) -> None:
        self._open = ""
        self._last: dict[object, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def tell(self, event: Event, line: bytes) -> None:
        """Write one event, unless it only repeats the guest's last."""
        text = sentence(event)
        if not text or self._last.get(event.get("guest")) == text:
            return
        self._last[event.get("guest")] = text
        self._write(led(event, text), stays_open=event["event"] == "step.started")

    def _write(self, text: str, *, stays_open: bool) -> None:
        if self._open and text.startswith(self._open):
            sys.stderr.write(text.removeprefix(self._open))
        else:
            self._close()
            sys.stderr.write(text)
        self._open = text
        if not stays_open:
            self._close()
        sys.stderr.flush()

    def _close(self) -> None:
        if self._open:
            sys.stderr.write("\n")
        self._open = ""


class Bars:
    """A bar for each guest at work, with its phase and the time it has taken; what is done scrolls by above.

    rich comes with the first event: the daemon is at work by then, and its loading costs nobody a moment.
    """

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - costs 40 ms, and only a terminal needs it
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - likewise

        self._bars = Progress(
            TextColumn("{task.fields[guest]}", markup=False),
            BarColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True, markup=False, highlight=False, emoji=False),
            transient=True,
        )
        self._tasks: dict[object, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def tell(self, event: Event, line: bytes) -> None:
        """Move a bar, or write what is over above it."""
        kind, text = event["event"], sentence(event)
        if kind in {"step.started", "progress"}:
            self._move(event)
        elif text:
            self._bars.console.print(led(event, text), soft_wrap=True)
        if kind == "outcome":
            self._bars.stop()

    def _move(self, event: Event) -> None:
        guest = event.get("guest")
        if guest not in self._tasks:
            self._tasks[guest] = self._bars.add_task("", guest=clean(guest or ""), total=None)
        task = self._tasks[guest]
        if event["event"] == "step.started":
            self._bars.reset(task, total=None, description=clean(event["text"]))
            return
        self._bars.update(task, completed=event["done"] or 0, total=event["total"], description=clean(event["text"]))
