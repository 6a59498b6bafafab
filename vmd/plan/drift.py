"""What a definition says now against what its guest was started with: each difference, and how it takes effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ..definition.guest import Guest
from ..definition.network import Nic
from ..definition.units import format_size

Effect = Literal["live", "restart", "rebuild"]
"""How a change takes effect: while the guest runs, at its next start, or only with another disk, which vmd never
makes of one that holds data."""

EFFECTS: Mapping[str, Effect] = {
    "machine": "rebuild",
    "arch": "rebuild",
    "memory": "live",
    "cpus": "restart",
    "cpu": "restart",
    "disk": "live",
    "install": "rebuild",
    "image": "rebuild",
    "boot": "restart",
    "network": "restart",
    "forward": "restart",
    "hostname": "rebuild",
    "user": "rebuild",
    "ssh_keys": "rebuild",
    "packages": "rebuild",
    "user_data": "rebuild",
    "vnc": "live",
    "accel": "restart",
    "firmware": "rebuild",
    "stop_timeout": "live",
    "autostart": "live",
    "after": "live",
    "restart": "live",
    "limits": "restart",
    "protect": "live",
}
"""Key of a guest → how a change of it takes effect at best; what is more than that is decided below."""

NEVER = {
    "rebuild": "it would take another disk: vmctl rm and vmctl up make one, and vmd never does so by itself",
    "restart": "it takes effect when the guest is started next",
    "live": "it takes effect at once",
}


@dataclass(frozen=True)
class Change:
    """One key that differs. ``was`` and ``now`` are for people."""

    key: str
    was: str
    now: str
    effect: Effect
    why: str

    @property
    def text(self) -> str:
        """The change in one line."""
        return f"{self.key}: {self.was} → {self.now} ({self.effect}: {self.why})"


def drift(booted: Guest, now: Guest, ceiling: int | None = None) -> tuple[Change, ...]:
    """Every difference between the definition a guest runs with and the one it has now.

    ``ceiling`` is the memory in bytes that its QEMU was started with, where a balloon has taken some of it since.
    """
    return tuple(_changes(booted, now, ceiling or booted.memory))


def _changes(booted: Guest, now: Guest, ceiling: int) -> Iterator[Change]:
    for key, effect in EFFECTS.items():
        was, new = getattr(booted, key), getattr(now, key)
        if was == new:
            continue
        if key == "disk":
            yield from _disk(booted, now)
        elif key == "network":
            yield from _network(booted, now)
        elif key == "memory":
            yield _memory(booted, now, ceiling)
        else:
            yield Change(key, shown(was), shown(new), effect, NEVER[effect])


def _memory(booted: Guest, now: Guest, ceiling: int) -> Change:
    live = now.memory <= ceiling and booted.board.balloon is not None
    effect: Effect = "live" if live else "restart"
    why = "its balloon takes the difference" if live else NEVER["restart"]
    return Change("memory", format_size(booted.memory), format_size(now.memory), effect, why)


def _disk(booted: Guest, now: Guest) -> Iterator[Change]:
    was, new = booted.disk, now.disk
    if was is None or new is None:
        yield Change("disk", shown(was), shown(new), "rebuild", NEVER["rebuild"])
        return
    if was.size != new.size:
        grows = new.size is None or was.size is None or new.size > was.size
        effect: Effect = "live" if grows else "rebuild"
        why = "it grows while the guest runs" if grows else "a disk never shrinks"
        yield Change("disk.size", shown(was.size), shown(new.size), effect, why)
    if was.bus != new.bus:
        yield Change("disk.bus", shown(was.bus), shown(new.bus), "restart", NEVER["restart"])
    for key in ("path", "format"):
        if getattr(was, key) != getattr(new, key):
            yield Change(
                f"disk.{key}", shown(getattr(was, key)), shown(getattr(new, key)), "rebuild", NEVER["rebuild"]
            )


def _network(booted: Guest, now: Guest) -> Iterator[Change]:
    """A cable can be pulled live; any other change of a NIC is another NIC."""
    was, new = booted.network, now.network
    if tuple(map(_plugged, was)) != tuple(map(_plugged, new)):
        yield Change("network", shown(was), shown(new), "restart", NEVER["restart"])
        return
    for index, (before, after) in enumerate(zip(was, new, strict=True)):
        if before.link != after.link:
            yield Change(
                f"network[{index}].link", before.link, after.link, "live", "the cable is pulled or plugged in"
            )


def _plugged(nic: Nic) -> Nic:
    return nic.model_copy(update={"link": "up"})


def shown(value: object) -> str:
    """A value of a key, for a person, on one line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value >= 1 << 20:
        return format_size(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(shown, value))}]"
    dump = getattr(value, "model_dump", None)
    if dump is None:
        return str(value)
    said = {key: word for key, word in dump(exclude_defaults=True).items() if word is not None}
    return ", ".join(f"{key} {shown(word)}" for key, word in said.items()) or "as it comes"
