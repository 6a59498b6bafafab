"""The first process of a machine: run in namespaces of its own, it mounts what systemd expects and becomes systemd.

usage: init.py CGROUP ROOT DIRECTORY      (the outer: joins the cgroup, makes the namespaces)
       init.py --inner ROOT DIRECTORY     (the inner: is process 1 there)

Only what every Python has: it is run by the host's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
NAMESPACES = ("--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--net", "--propagation=private")
SYSTEMD = ("/lib/systemd/systemd", "--system", "--show-status=no", "--log-target=journal")
ENVIRON = {"container": "vmd-test", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "dumb"}


def call(*argv: str) -> None:
    subprocess.run(argv, check=True)


def mount(*words: str | Path) -> None:
    call("mount", *map(str, words))


def outer(cgroup: str, root: str, directory: str) -> None:
    """Be in the machine's cgroup when the namespaces are made: what is above it is then nowhere to be seen."""
    Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
    argv = ("unshare", *NAMESPACES, "--", sys.executable, __file__, "--inner", root, directory)
    os.execvp(argv[0], argv)  # noqa: S606 - there is no shell


def inner(root: str, directory: str) -> None:
    place = Path(directory, "root")
    layers = f"lowerdir={root},upperdir={directory}/upper,workdir={directory}/work"
    mount("-t", "overlay", "overlay", "-o", layers, place)
    kernel(place)
    devices(place / "dev")
    for name in ("run", "tmp"):
        mount("-t", "tmpfs", "-o", "mode=1777" if name == "tmp" else "mode=755", "tmpfs", place / name)
    call("ip", "link", "set", "lo", "up")
    call("hostname", "vmd-test")
    os.chdir(place)
    (place / "before").mkdir(exist_ok=True)
    call("pivot_root", ".", "before")
    call("umount", "-l", "/before")
    os.execve(SYSTEMD[0], SYSTEMD, ENVIRON)  # noqa: S606 - there is no shell


def kernel(place: Path) -> None:
    """As in a container: udev stays off, what is the host's stays as it is, and each boot has a number of its own."""
    mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", place / "proc")
    mount("-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", place / "sys")
    mount("-o", "remount,bind,ro", place / "sys")
    settings = place / "proc/sys"
    mount("--bind", settings, settings)
    mount("--bind", settings / "net", settings / "net")
    mount("-o", "remount,bind,ro", settings)
    mount("-t", "cgroup2", "-o", "nsdelegate", "cgroup2", place / "sys/fs/cgroup")
    boot = place.parent / "boot_id"
    boot.write_text(f"{uuid.uuid4()}\n")
    mount("--bind", boot, settings / "kernel/random/boot_id")


def devices(dev: Path) -> None:
    mount("-t", "tmpfs", "-o", "mode=755,nosuid", "tmpfs", dev)
    for name, major, minor in NODES:
        os.mknod(dev / name, 0o020666, os.makedev(major, minor))
        (dev / name).chmod(0o666)
    for name in ("pts", "shm", "net"):
        (dev / name).mkdir()
    os.mknod(dev / "net/tun", 0o020666, os.makedev(10, 200))
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620,gid=5", "devpts", dev / "pts")
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", dev / "shm")
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1")):
        (dev / name).symlink_to(target)


if __name__ == "__main__":
    if sys.argv[1] == "--inner":
        inner(*sys.argv[2:])
    else:
        outer(*sys.argv[1:])
