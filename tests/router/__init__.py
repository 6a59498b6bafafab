"""A real router to boot: packaging/router makes it once, and every later run of the tests finds it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = ROOT / "packaging/router/make"
TOOLS = {"apt-get": "apt", "readelf": "binutils", "depmod": "kmod", "mksquashfs": "squashfs-tools"}
"""Program → the package that has it."""

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def cache() -> Path:
    """The directory in which what takes long is kept; QEMU's user can pass through it.

    ``VMD_TEST_CACHE`` names another one.
    """
    named = os.environ.get("VMD_TEST_CACHE")
    path = Path(named) if named else Path(f"/var/tmp/vmd-tests-{os.getuid()}")
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = path.lstat()
    # /var/tmp is everybody's
    assert stat.S_ISDIR(found.st_mode), f"{path} is no directory"
    assert found.st_uid == os.getuid(), f"{path} is somebody else's"
    return path


def made() -> Path:
    """A directory with vmlinuz, vmlinuz.uimage, initrd.gz and rootfs.squashfs; skips where it can't be made."""
    lacking = {package for program, package in TOOLS.items() if not shutil.which(program, path=PATH)}
    if lacking:
        pytest.skip(f"the router needs {', '.join(sorted(lacking))}")
    path = cache() / "router"
    done = subprocess.run((MAKE, path), capture_output=True, text=True, check=False)
    if done.returncode and ("Temporary failure" in done.stderr or "Could not resolve" in done.stderr):
        pytest.skip("there is no network to fetch the router's packages over")
    assert done.returncode == 0, done.stderr
    return path


def kernel(arch: str) -> Path:
    """A kernel of packaging/router/kernel's, if somebody has built it: that takes minutes, and is not done here."""
    path = cache() / "kernels" / f"vmlinux-{arch}"
    if not path.exists():
        pytest.skip(f"there is no {path}: packaging/router/kernel {path.parent} {arch} builds it")
    return path
