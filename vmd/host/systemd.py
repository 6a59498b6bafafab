"""The journal, where there is one: its fields, and not only its lines.

The one door to systemd's library, and that is optional (python-systemd 235): without it, or where nobody asked for
the journal, vmd says its lines on stderr.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Level → syslog's number, sd-daemon(3)."""


def in_journal(environ: Mapping[str, str], fd: int = 2) -> bool:
    """Whether what is written to ``fd`` goes to the journal anyway (``JOURNAL_STREAM``, systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    with suppress(OSError):
        found = os.fstat(fd)
        return (device, inode) == (str(found.st_dev), str(found.st_ino))
    return False


def journal(environ: Mapping[str, str], identifier: str) -> logging.Handler | None:
    """What sends records to the journal with their fields; None where there is no journal, or no library.

    The fields of a record are those of its ``journal`` attribute, a mapping, if it has one.
    """
    if not in_journal(environ):
        return None
    try:
        return _Journal(identifier)
    except ImportError:
        return None


class _Journal(logging.Handler):
    """Sends by sd_journal_send(3)."""

    def __init__(self, identifier: str) -> None:
        from systemd import journal as library  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415 - optional, and only for who has a journal

        super().__init__()
        self._send = library.send
        self._identifier = identifier

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(
                self.format(record),
                PRIORITY=str(_PRIORITY.get(record.levelno, 6)),
                SYSLOG_IDENTIFIER=self._identifier,
                LOGGER=record.name,
                CODE_FILE=record.pathname,
                CODE_LINE=record.lineno,
                CODE_FUNC=record.funcName,
                **getattr(record, "journal", {}),
            )
        except Exception:  # as every handler of the library: a line lost is no reason to stop
            self.handleError(record)
