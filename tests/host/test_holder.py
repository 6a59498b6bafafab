"""Who has a file open."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmd.host.holder import Holder, holder

OPENS = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"


def test_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert holder(tmp_path / "file") is None
    assert holder(tmp_path / "nowhere") is None


def test_not_this_very_process(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        assert holder(tmp_path / "file") is None


@pytest.mark.parametrize("name", ["file", "link", "hard link"])
def test_a_process_by_whatever_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "hard link").hardlink_to(file)
    argv = (sys.executable, "-c", OPENS, str(tmp_path / name))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        found = holder(file)
        process.communicate()
    assert found
    assert found.pid == process.pid
    assert found.command.startswith("python")
    assert holder(file) is None


def test_whoever_opens_it_in_the_very_moment_does_not_end_us(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    loop = "import sys\nprint(flush=True)\nwhile not sys.stdin.closed and (f := open(sys.argv[1])): f.close()"
    with subprocess.Popen(
        (sys.executable, "-c", loop, file), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        found = {holder(file) for _ in range(3000)}
        process.kill()
    assert {each.pid for each in found if each} <= {process.pid}


def test_a_lock_is_seen_where_the_process_is_not(tmp_path: Path) -> None:
    """Our own descriptors are not looked at, so our own lock stands for another user's QEMU."""
    file = tmp_path / "file"
    file.touch()
    descriptor = os.open(file, os.O_RDWR)
    lock = bytearray(32)
    lock[0:2] = fcntl.F_RDLCK.to_bytes(2, sys.byteorder)
    lock[8:16] = (100).to_bytes(8, sys.byteorder)
    lock[16:24] = (1).to_bytes(8, sys.byteorder)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, bytes(lock))
    assert holder(file) == Holder(0, "a QEMU or qemu-img of another user")
    os.close(descriptor)
    assert holder(file) is None
