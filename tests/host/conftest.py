"""Processes that are gone when the test is."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from vmd.host.process import Process, spawn

Spawn = Callable[..., Awaitable[Process]]

QEMU = ("qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35", "-accel", "tcg", "-m", "16")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Spawn]:
    """Start a program; it is ended after the test, and by the kernel if the test run is killed."""
    started: list[Process] = []

    async def start(*argv: str, **options: Any) -> Process:
        process = await spawn(argv, log=tmp_path / "log", die_with_parent=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        await process.terminate(0)


@pytest.fixture
def start_qemu(start: Spawn) -> Spawn:
    """Start a QEMU on a small q35 board without devices, these options added."""
    if not shutil.which(QEMU[0]):
        pytest.skip(f"{QEMU[0]} is not installed")

    async def start_qemu(*options: str) -> Process:
        return await start(*QEMU, *options)

    return start_qemu
