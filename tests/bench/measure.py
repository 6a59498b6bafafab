"""Figures: times of several rounds, their median, and how one stands to another of the same run."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Unit = Literal["s", "ms", "MB", "%"]
PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclass
class Figure:
    """One thing measured in some rounds, and what it is to be held against.

    ``limit`` is a budget: of the ratio to ``against`` where that is named, by ``times`` or ``plus``; else of the
    figure itself.
    """

    name: str
    unit: Unit
    samples: list[float] = field(default_factory=list)
    against: str = ""
    budget: float | None = None
    rule: Literal["times", "plus", "most"] = "times"

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


class Report:
    """All figures of a run, in their order, and what was left out and why."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self.skipped: dict[str, str] = {}

    def add(self, name: str, unit: Unit, value: float, **facts: Any) -> None:
        """Note one round of a figure."""
        self.figures.setdefault(name, Figure(name, unit, **facts)).samples.append(value)

    @contextmanager
    def timing(self, name: str, **facts: Any) -> Iterator[None]:
        """Time this, in seconds."""
        began = time.perf_counter()
        yield
        self.add(name, "s", time.perf_counter() - began, **facts)

    def compared(self, figure: Figure) -> float | None:
        """The figure as its budget has it: a ratio, a difference, or itself."""
        other = self.figures.get(figure.against)
        if figure.rule == "most":
            return figure.median
        if other is None:
            return None
        return figure.median / other.median if figure.rule == "times" else figure.median - other.median

    def as_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        told = [
            {**asdict(each), "median": each.median, "compared": self.compared(each)} for each in self.figures.values()
        ]
        return {"load": os.getloadavg(), "cores": os.cpu_count(), "figures": told, "skipped": self.skipped}

    def table(self) -> Iterator[str]:
        """All of it, a line each."""
        width = max((len(name) for name in self.figures), default=0)
        yield f"{'':{width}}    median       min       max   n"
        for each in self.figures.values():
            low, high = min(each.samples), max(each.samples)
            numbers = "".join(f"{value:10.3f}" for value in (each.median, low, high))
            yield f"{each.name:{width}}{numbers}{len(each.samples):4} {each.unit:2}  {self._verdict(each)}".rstrip()
        for name, why in self.skipped.items():
            yield f"{name}: not had: {why}"

    def _verdict(self, figure: Figure) -> str:
        found = self.compared(figure)
        if found is None:
            return ""
        to = f" {figure.against}" if figure.against else ""
        said = {"times": f"{found:.2f} times{to}", "plus": f"{found:+.3f} s to{to}", "most": ""}[figure.rule]
        if figure.budget is None:
            return said
        return f"{said} (budget {figure.budget:g}: {'met' if found <= figure.budget else 'MISSED'})".strip()


class Used(NamedTuple):
    """What a process has used: seconds of CPU so far, bytes of memory now."""

    cpu: float
    rss: int


def used(pid: int) -> Used:
    """What a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - a name is all there is
        words = file.read().rpartition(")")[2].split()
    return Used((int(words[11]) + int(words[12])) / TICK, int(words[21]) * PAGE)


def until(ready: Callable[[], bool], patience: float = 120.0) -> None:
    """Look every 2 ms until it is so.

    :raise TimeoutError: it is not within ``patience`` seconds.
    """
    end = time.monotonic() + patience
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {patience:g} s")
        time.sleep(0.002)
