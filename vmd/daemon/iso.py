"""Build the installer's ISO in a process of its own, once, whoever asks."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import VmdError
from ..host import files
from ..host.scope import in_a_unit
from ..installer.contract import Progress
from .home import Home


async def build(home: Home, release: str, path: Path, announce: Callable[[Progress], None]) -> str | None:
    """Build the ISO of a release; say so when it is there already.

    Whoever asks while it is being built waits for the same one.

    :raise VmdError: it can't be built; the builder's own words say why.
    """
    async with home.building:
        if path.exists():
            return f"{path} is there"
        files.make_directory(Path(home.layout.isos), 0o755)
        await _run(_builder(home, release, path), announce)
    return None


def _builder(home: Home, release: str, path: Path) -> tuple[str, ...]:
    """The builder mounts and changes root: under the system's systemd in a unit without vmd's own restrictions."""
    argv = (sys.executable, "-P", "-m", "vmd.installer", "build", release, "-o", str(path))
    return in_a_unit(argv) if home.scopes and not home.scopes.user else argv


async def _run(argv: tuple[str, ...], announce: Callable[[Progress], None]) -> None:
    builder = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert builder.stdout is not None  # noqa: S101 - a pipe was asked for
    failure: dict[str, Any] = {}
    try:
        async for line in builder.stdout:
            said = _said(line)
            if "progress" in said:
                announce(Progress(*said["progress"]))
            elif "error" in said:
                failure = said
        status = await builder.wait()
    finally:
        if builder.returncode is None:
            with suppress(ProcessLookupError):
                builder.terminate()
            await builder.wait()
    if status != 0:
        error = failure.get("error", f"the ISO builder ended with exit status {status}")
        raise VmdError(error, failure.get("hint", "the daemon's own log has its last words"))


def _said(line: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict):
            return said
    return {}
