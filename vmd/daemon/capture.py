"""What passes a running guest's NIC, written down by QEMU itself for as long as somebody listens."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import VmdError
from ..host.transcript import read_from
from .running import Running

CAPTURE_LIMIT = 256 << 20
"""Bytes after which a capture ends: it lies in the runtime directory, which is in memory."""

CHUNK = 1 << 16
LOOK = 0.1
"""Seconds between two looks at a capture that does not grow."""

_OURS = "pcap-"


async def capture(running: Running, netdev: str) -> AsyncIterator[bytes]:
    """Write down what passes a NIC from now on, until the guest ends or who listens goes: a pcap file in pieces.

    QEMU writes it (filter-dump, QEMU 2.5), so it needs no right and works on every network.

    :raise VmdError: QEMU can't.
    """
    name = f"{_OURS}{secrets.token_hex(4)}"
    path = Path(running.places.runtime, name)
    words: dict[str, Any] = {"qom-type": "filter-dump", "id": name, "netdev": netdev, "file": str(path)}
    await running.monitor.execute("object-add", **words)
    return _growing(running, name, path)


async def _growing(running: Running, name: str, path: Path) -> AsyncIterator[bytes]:
    at = 0
    try:
        while at < CAPTURE_LIMIT:
            if data := read_from(path, at, CHUNK):
                at += len(data)
                yield data
            elif running.process.alive:
                await asyncio.wait({running.process.exited}, timeout=LOOK)
            else:
                return
    finally:
        await _end_capture(running, name, path)


async def _end_capture(running: Running, name: str, path: Path) -> None:
    with suppress(VmdError):  # it is gone, and so is what it did
        await running.monitor.execute("object-del", id=name)
    path.unlink(missing_ok=True)


async def end_captures(running: Running) -> None:
    """End what an earlier vmd had written down, for nobody listens to it any more."""
    for path in Path(running.places.runtime).glob(f"{_OURS}*"):
        await _end_capture(running, path.name, path)
