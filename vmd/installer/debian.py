"""The unattended Debian installer that vmd makes itself: which ones there are, and how to get one."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vmd.errors import CommandFailed, VmdError
from vmd.installer import iso, loader, namespace, root
from vmd.installer.command import SEARCH_PATH, environment
from vmd.installer.recipe import STEPS, Announce

RELEASES = tuple(root.CODENAMES)
"""What can be built; ``install: debian-12`` in a definition names one of them."""

_RECIPE = ("command", "disk", "initramfs", "iso", "loader", "recipe", "root")
_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "apt-get": "apt",
    "unshare": "util-linux",
    "mount": "mount",
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "zstd": "zstd",
    "cpio": "cpio",
    "mformat": "mtools",
    "mcopy": "mtools",
    "grub-mkimage": "grub-common",
    "xorriso": "xorriso",
}
_FILES = {
    loader.MODULE_DIRECTORY / "i386-pc/boot.img": "grub-pc-bin",
    loader.MODULE_DIRECTORY / "x86_64-efi/normal.mod": "grub-efi-amd64-bin",
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"): "debian-archive-keyring",
}


def cache_key(release: str) -> str:
    """A name for everything of ours that decides what the ISO of ``release`` is; not for the day's packages.

    :raise VmdError: for a release not in :data:`RELEASES`.
    """
    _known(release)
    digest = hashlib.sha256(release.encode())
    modules = [Path(__file__).with_name(f"{name}.py") for name in _RECIPE]
    for path in [*modules, *sorted(root.GUEST_FILES.iterdir())]:
        digest.update(f"\0{path.name}\0".encode())
        digest.update(path.read_bytes())
    return f"{release}-{digest.hexdigest()[:16]}"


def missing_programs() -> tuple[tuple[str, str], ...]:
    """What a build needs and this machine lacks: (program or file, the Debian package that has it)."""
    programs = {**_PROGRAMS, **({"newuidmap": "uidmap"} if os.geteuid() else {})}
    missing = [(name, package) for name, package in programs.items() if not shutil.which(name, path=SEARCH_PATH)]
    return (*missing, *((str(path), package) for path, package in _FILES.items() if not path.exists()))


def build(release: str, destination: Path, *, work: Path, announce: Announce) -> None:
    """Make the ISO of ``release`` at ``destination``, or find that it is there already.

    ``work`` is a directory for 1.5 GB of intermediate files, of which none remains; builds that share it wait for
    each other. ``destination`` appears when it is complete, and not before. ``announce`` is called with the
    steps done, the steps in all, and what is being done.

    :raise CommandFailed: when one of the programs fails; it is quoted.
    :raise VmdError: for an unknown release, a missing program, no user namespaces, no room.
    """
    key = cache_key(release)
    work.mkdir(parents=True, exist_ok=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _only_build(work, announce) as lock:
        _part(destination).unlink(missing_ok=True)  # of a build that was killed
        if iso.key_of(destination) != key:
            _check_programs()
            with _workshop(work / "build") as workshop:
                _bake(release, key, workshop, lock, announce)
                _deliver(workshop / "installer.iso", destination)
    announce(len(STEPS), len(STEPS), "complete")


@contextmanager
def _only_build(work: Path, announce: Announce) -> Iterator[int]:
    """Yield the lock's descriptor, for whoever works under it to keep: a build that outlives us is still a build."""
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            announce(0, len(STEPS), "waiting for another build")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@contextmanager
def _workshop(directory: Path) -> Iterator[Path]:
    namespace.check()
    namespace.remove(directory)  # of a build that was killed
    directory.mkdir()
    try:
        yield directory
    finally:
        namespace.remove(directory)


def _bake(release: str, key: str, workshop: Path, lock: int, announce: Announce) -> None:
    argv = namespace.command(sys.executable, "-m", "vmd.installer", "bake", release, key, str(workshop))
    with (workshop / "complaint").open("w+") as complaint:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,  # closed: stop at once
            stdout=subprocess.PIPE,
            stderr=complaint,
            text=True,
            env=environment({"PYTHONPATH": str(Path(__file__).parents[2])}),
            start_new_session=True,  # Ctrl-C is for us, and we end the build
            pass_fds=(lock,),
        )
        assert process.stdin is not None  # noqa: S101 - pipes were asked for
        assert process.stdout is not None  # noqa: S101
        try:
            relay(process.stdout, announce)
        finally:
            process.stdin.close()
            process.wait()  # nothing in the namespace is left then
            process.stdout.close()
        if process.returncode != 0:
            complaint.seek(0)
            raise CommandFailed(argv, process.returncode, complaint.read())


def relay(lines: Iterable[str], announce: Announce) -> None:
    """Pass on what a build says in JSON, one object a line.

    :raise VmdError: when it says that it failed.
    """
    for line in lines:
        said = json.loads(line)
        if "error" in said:
            raise VmdError(said["error"], said["hint"])
        announce(*said["progress"])


def _part(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.part")


def _deliver(made: Path, destination: Path) -> None:
    part = _part(destination)
    try:
        shutil.move(made, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(destination)
    finally:
        part.unlink(missing_ok=True)


def _known(release: str) -> None:
    if release not in RELEASES:
        raise VmdError(f"there is no installer for {release!r}", f"there are {' and '.join(RELEASES)}")


def _check_programs() -> None:
    if missing := missing_programs():
        names = ", ".join(name for name, _ in missing)
        packages = " ".join(dict.fromkeys(package for _, package in missing))
        raise VmdError(f"building the installer needs {names}", f"sudo apt install {packages}")
