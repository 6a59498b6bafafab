"""QEMUs of ours whose record is gone: vmd was killed between starting one and writing it down.

Each is known by its own line: its control socket lies in the runtime directory of exactly one guest.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

from ..definition.layout import GuestLayout
from ..errors import VmdError
from ..host import files
from ..host.process import Found, find
from . import records
from .home import Home

log = logging.getLogger(__name__)


def take_in(home: Home) -> None:
    """Give every stray a record again, so that it is adopted as any other; one that is not defined is told of."""
    mark = re.compile(rf"socket,id=qmp,path={re.escape(home.layout.directories.runtime)}/guests/([a-z0-9-]+)/qmp,.*")
    for found in find(lambda argv: any(mark.fullmatch(word) for word in argv)):
        name = next(match[1] for word in found.argv if (match := mark.fullmatch(word)))
        try:
            _take_in(home, name, found)
        except (VmdError, OSError, ValueError, LookupError, RuntimeError) as error:
            log.warning("%s: its QEMU (pid %d) has no record: %s", name, found.identity.pid, error)


def _take_in(home: Home, name: str, found: Found) -> None:
    guest = home.fleet.guests.get(name)
    places = home.places(name, guest)
    if found.identity in _recorded(places):
        return
    now = time.time()
    text = f"its QEMU (pid {found.identity.pid}) runs, and nothing was written down about it"
    home.events.emit("note", name, text=text)
    if any(f"logfile={places.install_log}" in word for word in found.argv):
        files.write_record(Path(places.install_record), {"process": found.identity.as_record(), "began": now})
    elif guest is not None:
        records.Booted(guest, found.argv, found.identity, now, guest.memory).write(places)
    else:
        log.warning("%s: %s, and it is not defined: end it by hand if it is not meant to run", name, text)


def _recorded(places: GuestLayout) -> list[object]:
    """The processes that this guest's records name."""
    booted = records.booted(places)
    installing, _ = records.under_way(places)
    if installing is not None:
        installing.close()
    return [each for each in (booted and booted.process, installing and installing.identity) if each]
