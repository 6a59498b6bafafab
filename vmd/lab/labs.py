"""All labs of one test run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import settings
from .bench import Lab
from .facts import Facts
from .loop import Loop


class Labs:
    """The labs that are open, by their ``lab.yaml``; what is ``known`` of the host is kept by whoever made us."""

    def __init__(self, artefacts: Path, known: dict[str, Any], keep: Callable[[], None]) -> None:
        self.open: dict[Path, Lab] = {}
        self._shared: set[Path] = set()
        self._artefacts = artefacts
        self._loop: Loop | None = None
        self._facts = Facts(known, keep)

    def get(self, path: Path) -> Lab:
        """The lab of a ``lab.yaml``, all its guests ready."""
        if path not in self.open:
            bench = settings.load(path)
            self._loop = self._loop or Loop()
            room = Path(tempfile.mkdtemp(prefix="vmd-lab-"))
            self.open[path] = Lab(bench, room, self._artefacts, self._facts, self._loop)
            self.open[path].begin()
            if bench.scope == "session":
                self._shared.add(path)
        return self.open[path]

    def end_of_module(self, path: Path) -> None:
        """End one, unless other modules share it."""
        if path not in self._shared:
            self.close(path)

    def close(self, path: Path) -> None:
        """End one, if it is open."""
        if lab := self.open.pop(path, None):
            lab.close()

    def close_all(self) -> None:
        """End them all."""
        for path in list(self.open):
            self.close(path)
        if self._loop:
            self._loop.close()
