"""One option of a QEMU line, and which one QEMU complains of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a QEMU line and the key of the definition that it follows from."""

    key: str
    words: tuple[str, ...]


def blame(options: tuple[Option, ...], said: str) -> Option | None:
    """The option that QEMU complains of: it quotes the whole of an option it refuses (QEMU 7.2 to 10.0).

    The longest that is quoted: ``-device virtio-scsi-pci`` is the beginning of another, too.
    """
    whole = (option for option in options if " ".join(option.words) in said)
    found = max(whole, key=lambda option: len(" ".join(option.words)), default=None)
    # of a CPU, QEMU quotes only the name
    return found or next((option for option in options if option.key and f"'{option.words[-1]}'" in said), None)
