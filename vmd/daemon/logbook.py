"""Where vmd's own words go: to the journal with fields, where there is one, or to stderr, one line each.

A thread writes them. Whoever reads stderr and stops reading, or a journal that hangs, never stops the event loop.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..host.systemd import journal

WAITING = 10_000
"""Records that wait for a reader; more are dropped."""

PATIENCE = 2.0
"""How long the last words may take at the end, in seconds."""


Records = queue.SimpleQueue[logging.LogRecord | None]


class _Aside(logging.Handler):
    """Puts records aside for the thread; what doesn't fit is lost, and nobody waits."""

    def __init__(self, records: Records) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        if self._records.qsize() < WAITING:
            self._records.put(record)


@contextmanager
def kept(*, verbose: bool) -> Iterator[None]:
    """While this lasts, what is logged is written."""
    out = journal(os.environ, "vmd") or _on_stderr()
    out.lock = None  # one thread alone uses it, and logging.shutdown must not wait for it when that hangs
    records: Records = queue.SimpleQueue()
    aside = _Aside(records)
    writer = threading.Thread(target=_write, args=(records, out), name="log", daemon=True)
    writer.start()
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.addHandler(aside)
    try:
        yield
    finally:
        root.removeHandler(aside)
        records.put(None)
        writer.join(PATIENCE)


class _Stderr(logging.Handler):
    """Writes past sys.stderr: whose lock a thread that hangs in it would keep, and Python could not end."""

    def emit(self, record: logging.LogRecord) -> None:
        rest = f"{self.format(record)}\n".encode(errors="replace")
        with suppress(OSError):  # who has closed our stderr wants no words
            while rest:
                rest = rest[os.write(2, rest) :]


def _on_stderr() -> logging.Handler:
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    return handler


def _write(records: Records, out: logging.Handler) -> None:
    while (record := records.get()) is not None:
        out.emit(record)  # handle() wants the lock that was taken away (Python 3.13)
