"""The ports of this host that lead to guests, as the guests' own records hold them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import VmdError
from ..host import files


class HeldPorts:
    """The port of each guest; a record is read again only when it has changed, for there may be hundreds."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], int | None]] = {}

    def by_others(self, guests: str, name: str) -> set[int]:
        """The ports of all guests below the directory ``guests`` but one."""
        try:
            names = os.listdir(guests)  # noqa: PTH208 - for every guest at every start: pathlib is slow
        except FileNotFoundError:
            return set()
        held = (self._port(f"{guests}/{other}/lock.json") for other in names if other != name)
        return {port for port in held if port is not None}

    def _port(self, path: str) -> int | None:
        try:
            state = os.stat(path)  # noqa: PTH116 - as above
        except OSError:
            return None
        identity = (state.st_ino, state.st_mtime_ns, state.st_size)
        known = self._known.get(path)
        if known is None or known[0] != identity:
            known = self._known[path] = (identity, _read(Path(path)))
        return known[1]


def _read(path: Path) -> int | None:
    with suppress(VmdError, OSError):  # another guest's bad record is that guest's trouble alone
        held = (files.read_record(path) or {}).get("ssh_port")
        return held if isinstance(held, int) else None
    return None
