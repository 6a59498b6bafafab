"""What is known of this host: found by asking and by running, once per boot and per QEMU binary."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..definition.layout import Layout
from ..definition.machine import BINARIES
from ..errors import VmdError
from ..host import accel, files, qemu
from ..host.credentials import Credentials
from ..host.link import tap
from ..installer import debian
from ..plan.observed import Firmware, HostFacts, QemuFacts

X86 = "qemu-system-x86_64"
"""The one binary whose guests KVM could run on the machines vmd knows; the probe is a PC's boot sector."""


class Facts:
    """The host's facts, asked for when first needed and remembered in the runtime directory."""

    def __init__(self, layout: Layout, user: Credentials | None) -> None:
        self._layout, self._user = layout, user
        self._asking = asyncio.Lock()
        self._known: dict[str, dict[str, Any]] | None = None
        self._told: dict[str, QemuFacts] = {}
        self._isos: dict[str, str] = {}
        self.fleet_id = _fleet_id(Path(layout.fleet_id))

    async def host(self, binaries: Iterable[str]) -> HostFacts:
        """What a plan needs to know for guests of these QEMU binaries.

        :raise VmdError: one is not installed; the hint names its package.
        """
        found = {binary: await self.qemu_facts(binary) for binary in sorted(set(binaries))}
        isos = {release: self.iso(release) for release in debian.RELEASES}
        built = frozenset(path for path in isos.values() if Path(path).exists())
        taps, segments = tap.available(), self._layout.segments
        return HostFacts(self.fleet_id, found, isos, built, _firmware(found), taps, segments)

    def iso(self, release: str) -> str:
        """Where the ISO of a release is, or will be: its name says all that goes into it."""
        if release not in self._isos:
            self._isos[release] = self._layout.iso(debian.cache_key(release))
        return self._isos[release]

    async def qemu_facts(self, binary: str) -> QemuFacts:
        """What a plan needs to know about one binary; looked for again when there is another in its place."""
        key = self._key(binary)
        if key not in self._told:
            self._told[key] = await self._qemu_facts(binary)
        return self._told[key]

    async def _qemu_facts(self, binary: str) -> QemuFacts:
        able = await self.capabilities(binary)
        how = await self.accel(binary)
        machines = {board.alias or name: name for name, board in able.machines.items()}
        names = {name: name for name in able.machines}
        return QemuFacts(binary, {**names, **machines}, able.vvfat, able.sandbox, how.kind, how.tcg_scale)

    async def capabilities(self, binary: str) -> qemu.Capabilities:
        """What the binary says it can do."""
        async with self._asking:
            known = self._remembered(binary)
            with suppress(KeyError, TypeError, ValueError):
                return qemu.Capabilities.from_json(known["capabilities"])
            found = await qemu.probe(binary, user=self._user)
            self._remember(binary, capabilities=found.to_json())
            return found

    async def accel(self, binary: str) -> accel.Accel:
        """Whether KVM really runs a guest here, as whom QEMU runs."""
        if binary != X86:
            return accel.Accel("tcg", f"{binary} emulates another processor", "", None, None, 1.0)
        async with self._asking:
            known = self._remembered(binary)
            with suppress(KeyError, TypeError):
                return accel.Accel(**known["accel"])
            found = await accel.probe_accel(binary, user=self._user)
            self._remember(binary, accel=asdict(found))
            return found

    def _remembered(self, binary: str) -> Mapping[str, Any]:
        """What is known of exactly this file in exactly this boot."""
        if self._known is None:
            self._known = {}
            with suppress(VmdError):  # a cache that can't be read is no cache
                self._known = files.read_record(Path(self._layout.capabilities)) or {}
        return self._known.get(self._key(binary), {})

    def _remember(self, binary: str, **facts: object) -> None:
        assert self._known is not None  # noqa: S101 - _remembered came first
        self._known.setdefault(self._key(binary), {}).update(facts)
        files.write_record(Path(self._layout.capabilities), self._known)

    def _key(self, binary: str) -> str:
        return f"{files.boot_id()} {qemu.identity(binary)} {self._user}"


def _firmware(binaries: Iterable[str]) -> Firmware | None:
    """UEFI for guests of these binaries; a plan is made for one of them."""
    known = (BINARIES[binary].uefi for binary in binaries if binary in BINARIES)
    for code, variables in (pair for uefi in known if uefi for pair in uefi.files):
        if Path(code).exists() and Path(variables).exists():
            return Firmware(code, variables)
    return None


def _fleet_id(path: Path) -> str:
    """The fleet's own number, made once: it keeps the MAC addresses of two hosts apart."""
    with suppress(FileNotFoundError):
        if (found := path.read_text().strip()) != "":
            return found
    made = secrets.token_hex(16)
    files.write_atomic(path, made + "\n")
    return made
