"""Assemble the tiny guests with binutils, and put the installer on a CD with xorriso."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal, get_args

SOURCES = Path(__file__).parent

Way = Literal["well", "fails", "silent", "unsaid", "halts", "resets", "hangs", "waits", "fills", "chatters"]
"""How an installer goes, as installer.s lists it."""

WAYS: tuple[Way, ...] = get_args(Way)

DISK_SIZE = 1 << 20
"""Bytes: SeaBIOS boots no disk of less than one cylinder."""

READY = b"tiny: ready"
"""What the guest says when it is up."""

TOOLS = {"as": "binutils", "ld": "binutils", "objcopy": "binutils", "xorriso": "xorriso"}
"""Program → the package that has it."""


def missing() -> str:
    """Why no tiny guest can be made here, or nothing."""
    lacking = {package for program, package in TOOLS.items() if not shutil.which(program)}
    return f"tiny guests need {', '.join(sorted(lacking))}" if lacking else ""


def disk(path: Path) -> Path:
    """Make the raw disk of a guest at ``path``; what it does is in disk.s."""
    with tempfile.TemporaryDirectory() as directory:
        sector = _assemble("disk.s", Path(directory))
        path.write_bytes(sector.read_bytes().ljust(DISK_SIZE, b"\0"))
    return path


def installer(path: Path, way: Way = "well") -> Path:
    """Make the ISO of an installer at ``path`` that goes this way."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        _assemble("disk.s", directory)
        (directory / "cd").mkdir()
        _assemble("installer.s", directory, WAY=WAYS.index(way)).rename(directory / "cd" / "boot.bin")
        boot = ("-b", "boot.bin", "-no-emul-boot", "-boot-load-size", "4")
        _run("xorriso", "-as", "mkisofs", "-quiet", *boot, "-o", str(path), str(directory / "cd"))
    return path


def unbootable(path: Path) -> Path:
    """Make an ISO at ``path`` that no firmware boots."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "readme").write_text("nothing to boot here\n")
        _run("xorriso", "-as", "mkisofs", "-quiet", "-o", str(path), directory)
    return path


def _assemble(source: str, directory: Path, **symbols: int) -> Path:
    """Make a flat binary of a source, to run at 0x7c00; an ``.incbin`` is found in ``directory``."""
    stem = Path(source).stem
    objects, linked, flat = (directory / f"{stem}.{suffix}" for suffix in ("o", "elf", "bin"))
    defined = [word for name, value in symbols.items() for word in ("--defsym", f"{name}={value}")]
    _run("as", "--32", "-I", str(SOURCES), "-I", str(directory), *defined, "-o", str(objects), str(SOURCES / source))
    _run("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "-e", "start", "-o", str(linked), str(objects))
    _run("objcopy", "-O", "binary", "-j", ".text", str(linked), str(flat))
    return flat


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv[0]}: {done.stdout}{done.stderr}"
