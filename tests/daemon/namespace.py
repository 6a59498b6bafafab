"""A vmd in a network of its own, so that no test touches the machine's own links."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.daemon.house import Vmd

UNSHARE = shutil.which("unshare") or "unshare"


def in_a_namespace(vmd: Vmd, *more: str) -> None:
    """Have vmd run in a network, and with mounts, of its own; ``more`` are commands that furnish it.

    It is gone when nobody is in it any more. Skips where it can't be made.
    """
    if os.geteuid() or subprocess.run((UNSHARE, "--net", "--mount", "true"), check=False).returncode:
        pytest.skip("it takes root and namespaces")
    words = " && ".join(("ip link set lo up", *more, "echo", "exec cat"))
    kept = subprocess.Popen(
        (UNSHARE, "--net", "--mount", "sh", "-c", words), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    vmd.undo.callback(kept.communicate)
    assert kept.stdout
    assert kept.stdout.readline() == b"\n"
    vmd.prefix = ("nsenter", f"--net=/proc/{kept.pid}/ns/net", f"--mount=/proc/{kept.pid}/ns/mnt")


def inside(vmd: Vmd, *argv: str) -> str:
    """Run a program where this vmd runs, and return what it says."""
    done = subprocess.run((*vmd.prefix, *argv), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout
