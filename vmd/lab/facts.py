"""What is known of this host: asked once per boot and QEMU binary, remembered by whoever gives us a place for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from ..host import files, qemu
from ..host.accel import Accel, probe_accel
from ..plan.observed import Firmware, HostFacts, QemuFacts

T = TypeVar("T")

EMULATED = Accel("tcg", "it emulates another processor, or was told to", "", None, None, 1.0)

FLEET = "lab"
"""What tells MAC addresses apart: those of tests are the same each time."""

PC = "qemu-system-x86_64"
"""The one binary that KVM could run guests of."""

UEFI = ("/usr/share/OVMF/OVMF_CODE{}.fd", "/usr/share/OVMF/OVMF_VARS{}.fd")
"""Where Debian 12 and 13 (package ovmf) keep UEFI's code and blank variables."""


class Facts:
    """Asks for facts when they are first needed; ``remembered`` outlives us, and ``keep`` is called when it grows."""

    def __init__(self, remembered: MutableMapping[str, Any], keep: Callable[[], None]) -> None:
        self._remembered, self._keep = remembered, keep
        self._asking = asyncio.Lock()

    async def host(self, binary: str, accel: str) -> HostFacts:
        """What a plan needs to know for guests of this QEMU binary that want this accelerator, which may be ``auto``.

        :raise VmdError: the binary is not installed; the hint names its package.
        """
        key = f"{files.boot_id()} {qemu.identity(binary)}"
        async with self._asking:
            able = await self._known(f"{key} able", qemu.Capabilities.from_json, lambda: _able(binary))
            how = EMULATED
            if binary == PC and accel != "tcg":
                how = await self._known(f"{key} accel", lambda plain: Accel(**plain), lambda: _accel(binary))
        names = {name: name for name in able.machines} | {board.alias: board.name for board in able.machines.values()}
        found = QemuFacts(binary, names, able.vvfat, able.sandbox, how.kind, how.tcg_scale)
        return HostFacts(FLEET, {binary: found}, firmware=_firmware())

    async def _known(self, key: str, read: Callable[[Any], T], ask: Callable[[], Awaitable[dict[str, Any]]]) -> T:
        """What is remembered under a key, or else what is found out now."""
        with suppress(KeyError, TypeError, ValueError):
            return read(self._remembered[key])
        self._remembered[key] = await ask()
        self._keep()
        return read(self._remembered[key])


async def _able(binary: str) -> dict[str, Any]:
    return (await qemu.probe(binary)).to_json()


async def _accel(binary: str) -> dict[str, Any]:
    return asdict(await probe_accel(binary))


def _firmware() -> Firmware | None:
    for size in ("_4M", ""):
        code, variables = (path.format(size) for path in UEFI)
        if Path(code).exists() and Path(variables).exists():
            return Firmware(code, variables)
    return None
