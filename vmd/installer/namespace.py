"""A place of our own to build in: root's rights over our own files, private mounts and processes.

One ``unshare`` for everything: in it we are root (an unprivileged user by the ids that /etc/subuid grants), may mount
and chroot, and every mount and process in it is gone when its first process is. So whatever kills a build leaves
files at worst, and those are under one directory.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

from vmd.errors import CommandFailed, VmdError
from vmd.installer.command import run

_MAP_USER = ("--user", "--map-root-user", "--map-auto")  # util-linux 2.38: the caller becomes 0, /etc/subuid follows


def command(*argv: str) -> tuple[str, ...]:
    """The argv that runs ``argv`` as the first process of a new namespace, and ends when all in there has ended."""
    return (
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *(() if os.geteuid() == 0 else _MAP_USER),
        "--",
        *argv,
    )


def check() -> None:
    """Try the namespace out.

    :raise VmdError: when this user or this kernel can't have it; the hint says what to do.
    """
    try:
        run(*command("true"))
    except CommandFailed as error:
        reason = f"cannot make the namespaces to build in: {error.output.strip()}"
        raise VmdError(reason, remedy(error, _user())) from error


def remove(directory: Path) -> None:
    """Remove what a build left behind, which may belong to subordinate ids that only the namespace may touch."""
    if directory.exists():
        run(*command("rm", "-rf", "--one-file-system", str(directory)))


def bind(directory: Path, name: Path) -> None:
    """Give ``directory`` a second name for as long as the namespace lasts; to be called inside it.

    apt's keyrings and hooks break on a path with a space or a comma in it, so the build never sees the real one.
    """
    run("mount", "--bind", directory, name)


def remedy(error: CommandFailed, user: str) -> str:
    """What ``user`` can do about an ``unshare`` that failed."""
    if error.status == 127:
        return "apt install util-linux"
    if "newuidmap" in error.output or "newgidmap" in error.output or "/etc/sub" in error.output:
        return (
            f"install the package uidmap, and give {user} ids of its own with "
            f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        )
    return (
        _kernel_remedy()
        if os.geteuid()
        else "in a container, give it the capability SYS_ADMIN (docker: --privileged)"
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _kernel_remedy() -> str:
    for name, forbidden, setting in _SWITCHES:
        with suppress(OSError):
            if Path("/proc/sys", *name.split(".")).read_text().strip() == forbidden:
                return f"the kernel forbids user namespaces: sudo sysctl {name}={setting}, or build as root"
    return "user namespaces are not to be had here: build as root"


_SWITCHES = (
    ("kernel.unprivileged_userns_clone", "0", "1"),  # Debian's own switch, on since Debian 11
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),  # Ubuntu 23.10 and later
    ("user.max_user_namespaces", "0", "10000"),
)
