"""As whom a process runs."""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress
from typing import NamedTuple

from vmd.errors import VmdError


class Credentials(NamedTuple):
    """The user, the group and the further groups a process runs as, as numbers."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def credentials_of(user: str) -> Credentials:
    """Return what a process of this user runs as, with group ``kvm`` where the host has it (it owns /dev/kvm).

    Raises VmdError when there is no such user.
    """
    try:
        found = pwd.getpwnam(user)
    except KeyError as error:
        raise VmdError(f"there is no user {user}", "make it, or name another one for QEMU to run as") from error
    groups = set(os.getgrouplist(user, found.pw_gid))
    with suppress(KeyError):
        groups.add(grp.getgrnam("kvm").gr_gid)
    return Credentials(found.pw_uid, found.pw_gid, tuple(sorted(groups)))
