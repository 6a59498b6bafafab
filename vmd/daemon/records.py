"""What vmd writes down about a guest, so that the next vmd knows what this one did.

Each record is one JSON file in the guest's directory, written whole or not at all. A record that can't be read costs
one guest a clear message, and no other anything.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..errors import VmdError
from ..host import files
from ..host.process import Identity, Process, adopt
from ..plan.observed import Pins
from ..plan.restart import End
from .observe import lines_of, unique

ENDS_KEPT = 20
"""So many past runs are remembered: enough to see that starting again doesn't help."""


@dataclass(frozen=True)
class Booted:
    """The definition a guest was started with, its line, its process; and how that run ended, when it has.

    ``ceiling`` is the memory it was started with, in bytes: a balloon may have taken some of it since.
    """

    guest: Guest
    argv: tuple[str, ...]
    process: Identity
    since: float
    ceiling: int
    end: End | None = None
    text: str = ""

    def write(self, places: GuestLayout) -> None:
        """Keep it."""
        record = {
            "definition": self.guest.model_dump(mode="json"),
            "argv": self.argv,
            "process": self.process.as_record(),
            "since": self.since,
            "ceiling": self.ceiling,
            "end": self.end._asdict() if self.end else None,
            "text": self.text,
        }
        # after a power cut nothing runs any more, and the run before is as good a record of that
        files.write_record(Path(places.booted), record, sync="content")

    def ended(self, places: GuestLayout, end: End, text: str) -> Booted:
        """Note how the run ended."""
        noted = replace(self, end=end, text=text)
        noted.write(places)
        return noted


def booted(places: GuestLayout) -> Booted | None:
    """The last run, or None where there was none.

    :raise VmdError: the record can't be used.
    """
    record = files.read_record(Path(places.booted))
    if record is None:
        return None
    try:
        guest = Guest.model_validate(record["definition"])
        return Booted(
            guest,
            tuple(map(str, record["argv"])),
            Identity.from_record(record["process"]),
            float(record["since"]),
            int(record.get("ceiling", guest.memory)),
            End(**record["end"]) if record.get("end") else None,
            str(record.get("text", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, VmdError) as error:
        raise _damaged(places.booted, error) from error


def pins(places: GuestLayout) -> Pins | None:
    """The hardware that its first start settled, or None before that.

    :raise VmdError: the record can't be used.
    """
    held = (files.read_record(Path(places.lock)) or {}).get("pins")
    if held is None:
        return None
    try:
        slots = {str(name): int(slot) for name, slot in held["slots"].items()}
        return Pins(**{**held, "macs": tuple(held["macs"]), "slots": slots})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(places.lock, error) from error


def keep_pins(places: GuestLayout, settled: Pins | None) -> None:
    """Settle its hardware; None lets the next start settle it anew."""
    record = files.read_record(Path(places.lock)) or {}
    if settled != pins(places):
        files.write_record(Path(places.lock), {**record, "pins": asdict(settled) if settled else None})


def under_way(places: GuestLayout) -> tuple[Process | None, float]:
    """The installer's QEMU that an earlier vmd started, if it still runs, and when it began.

    :raise VmdError: the record can't be used.
    """
    record = files.read_record(Path(places.install_record))
    if record is None:
        return None, 0.0
    try:
        return adopt(Identity.from_record(record["process"])), float(record["began"])
    except (KeyError, TypeError, ValueError, VmdError) as error:
        raise _damaged(places.install_record, error) from error


def wanted(places: GuestLayout) -> str | None:
    """What the operator said last: ``up``, ``down``, or None when nothing was."""
    try:
        word = Path(places.want).read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return word if word in ("up", "down") else None


def want(places: GuestLayout, word: str) -> None:
    """Note what the operator wants, ``up`` or ``down``, before anything is sent to anybody."""
    if Path(places.dir).exists():
        files.write_atomic(Path(places.want), word + "\n")


def keep_keys(places: GuestLayout, keys: tuple[str, ...]) -> None:
    """Keep the public keys that came with the first ``up``: an install that is taken up again needs them."""
    path = Path(places.authorized_keys)
    if keys and not path.exists():
        files.write_atomic(
            path, "".join(f"{line}\n" for line in unique(each for key in keys for each in lines_of(key)))
        )


@dataclass
class Ends:
    """How the last runs of a guest ended, the oldest first; the count survives vmd."""

    places: GuestLayout
    past: list[End] = field(default_factory=list)

    @classmethod
    def read(cls, places: GuestLayout) -> Ends:
        """What is remembered; nothing where that can't be read: a count is no reason to keep a guest down."""
        try:
            record: dict[str, Any] = files.read_record(Path(places.ends)) or {}
            return cls(places, [End(str(end["cause"]), float(end["ran"])) for end in record.get("ends", [])])  # type: ignore[arg-type]  # a cause that nobody knows is no failure
        except (VmdError, KeyError, TypeError, ValueError):
            return cls(places)

    def add(self, end: End) -> None:
        """Remember one more."""
        self.past = [*self.past, end][-ENDS_KEPT:]
        self._write()

    def forget(self) -> None:
        """Count afresh: the operator has seen to it."""
        if self.past:
            self.past = []
            self._write()

    def _write(self) -> None:
        if Path(self.places.dir).exists():
            record = {"ends": [end._asdict() for end in self.past]}
            files.write_record(Path(self.places.ends), record, sync="none")  # after a power cut they count anew


def _damaged(path: str, error: Exception) -> VmdError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return VmdError(f"{path} is damaged: {first}", "see that no QEMU uses the guest's disk, then move the file away")
