"""Files that survive a crash, and are not led astray by a link.

vmd may run as root while a guest's directory belongs to the user its QEMU runs as. Whoever can write a
directory can put a symbolic link, a FIFO or a hard link where vmd expects its own file. So a file is opened
without following a link in its last component and must be a regular file with one name; what is made is made
beside its final name, through the directory's descriptor, and renamed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from vmd.errors import Refused, VmdError

RECORD_LIMIT = 1 << 20
"""The largest record in bytes: one is a few KiB, and a megabyte of anything is not ours."""

Owner = tuple[int, int]
"""User and group id."""

Sync = Literal["all", "content", "none"]
"""What has to be on the disk before a write returns: content and name, the content, or nothing."""


@cache
def boot_id() -> str:
    """Return the kernel's name for this boot: a pid means nothing after the next one (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def open_regular(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a regular file that has this one name; return its descriptor, which is not inherited.

    Raises VmdError for a link, a FIFO, a device or a file with a second hard link; OSError as ``open`` does.
    """
    try:
        # O_NONBLOCK: without it a FIFO put there by another would hold us for ever.
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise _not_ours(path) from error
        raise
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(fd)
        raise _not_ours(path)
    os.set_blocking(fd, True)
    return fd


def _not_ours(path: Path) -> VmdError:
    return VmdError(f"{path} is a link or no regular file", "someone else put it there: look at it and remove it")


def write_atomic(
    path: Path, data: bytes | str, mode: int = 0o600, owner: Owner | None = None, *, sync: Sync = "all"
) -> None:
    """Give ``path`` this content, whole or not at all, and on the disk before this returns.

    The file is new with exactly this ``mode`` and ``owner``; a link at ``path`` is replaced, never followed. It
    always outlives us; after a power cut, where ``sync`` is "content", the old content may stand there instead, and
    where it is "none", anything.
    Raises OSError when the disk is full or the directory can't be written; then the old content still stands.
    """
    content = data.encode() if isinstance(data, str) else data
    with _directory(path.parent) as directory:
        temporary = f".{path.name[:200]}.{secrets.token_hex(8)}"
        try:
            _write_new(temporary, directory, content, mode, owner, sync=sync)
            os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise
        if sync == "all":
            os.fsync(directory)


def _write_new(  # noqa: PLR0913 - all that a new file is
    name: str, directory: int, content: bytes, mode: int, owner: Owner | None, *, sync: Sync
) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(name, flags, 0o600, dir_fd=directory), "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)
        file.flush()
        if owner:
            os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)  # after the chown, which takes set-id bits away; and whatever the umask
        if sync != "none":
            os.fsync(file.fileno())


@contextmanager
def _directory(path: str | Path, dir_fd: int | None = None) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def write_record(
    path: Path, record: Mapping[str, Any], mode: int = 0o600, owner: Owner | None = None, *, sync: Sync = "all"
) -> None:
    """Keep ``record`` as JSON in ``path``, atomically; ``sync`` as :func:`write_atomic` has it.

    Raises VmdError when it would be larger than ``RECORD_LIMIT``, OSError as :func:`write_atomic`.
    """
    content = json.dumps(record, indent=2, allow_nan=False).encode() + b"\n"
    if len(content) > RECORD_LIMIT:
        raise VmdError(f"{path} would hold {len(content)} bytes; a record may have {RECORD_LIMIT}")
    write_atomic(path, content, mode, owner, sync=sync)


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record in ``path``, or None when there is no such file.

    Raises VmdError when it is no record: empty, torn, not JSON, no object or larger than ``RECORD_LIMIT``.
    """
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        return _parse_record(path, file.read(RECORD_LIMIT + 1))


def _parse_record(path: Path, content: bytes) -> dict[str, Any]:
    if not content:
        raise _bad_record(path, "is empty")
    if len(content) > RECORD_LIMIT:
        raise _bad_record(path, f"is larger than {RECORD_LIMIT} bytes")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _bad_record(path, f"is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise _bad_record(path, "holds no JSON object")
    return record


def _bad_record(path: Path, fault: str) -> VmdError:
    return VmdError(f"{path} {fault}", "move it away, and vmd goes on without what it held")


def append_line(path: Path, line: str, mode: int = 0o600) -> None:
    """Append one line in one write, so that two writers never mix; a newline inside becomes a space."""
    fd = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
    try:
        os.write(fd, " ".join(line.splitlines()).encode(errors="replace") + b"\n")
    finally:
        os.close(fd)


def make_directory(path: Path, mode: int = 0o700, owner: Owner | None = None, below: Path | None = None) -> None:
    """Make ``path`` a directory with this mode and owner, or put mode and owner of the one there right.

    Down to ``below`` (its parent, when None) the way is trusted and made as ``mkdir -p`` does. From there on
    each component must be a real directory: where one is a link, or something else, VmdError is raised.
    Directories made on the way get the mode and the owner of ``path``.
    """
    trusted = path.parent if below is None else below
    trusted.mkdir(parents=True, exist_ok=True)
    names = path.relative_to(trusted).parts
    with _directory(trusted) as directory:
        _make_components(path, os.dup(directory), names, mode, owner)


def _make_components(path: Path, directory: int, names: tuple[str, ...], mode: int, owner: Owner | None) -> None:
    """Walk down by descriptor, so that no component can be exchanged for a link between look and use."""
    try:
        for place, name in enumerate(names, 1):
            child, made = _enter(path, directory, name)
            os.close(directory)
            directory = child
            if made or place == len(names):
                _set_mode_and_owner(directory, mode, owner)
    finally:
        os.close(directory)


def _enter(path: Path, directory: int, name: str) -> tuple[int, bool]:
    made = True
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
    except FileExistsError:
        made = False
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory), made
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        hint = "vmd keeps its files in real directories of its own: remove what stands there"
        raise VmdError(f"{name} in {path} is a link or no directory", hint) from error


def _set_mode_and_owner(directory: int, mode: int, owner: Owner | None) -> None:
    found = os.fstat(directory)
    if owner and (found.st_uid, found.st_gid) != owner:
        os.fchown(directory, *owner)
    if stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(directory, mode)


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it; nothing there is fine. Links are removed, never followed.

    Raises VmdError when ``path`` itself is a link, OSError when something in it can't be removed.
    """
    if path.is_symlink():
        raise _not_ours(path)
    with suppress(FileNotFoundError):
        # By descriptor on Linux, so that a directory exchanged for a link under way is not followed either.
        shutil.rmtree(path)


class Lock:
    """Whoever holds this file is the only one; the kernel lets go when its process ends, however it ends.

    The file holds the holder's pid and stays behind: to remove it would let two processes lock two files of
    one name.
    """

    def __init__(self, path: Path, what: str = "it") -> None:
        self.path = path
        self.what = what
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting. Raises Refused, naming the holder, when another has it."""
        fd = open_regular(self.path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            hint = f"only one can have {self.what}; stop the other, or give this one directories of its own"
            raise Refused(f"{self.path} is locked by process {holder}", hint) from error
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Let go of the lock; without it, nothing happens."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
