"""Who may look, and who may change something.

Root and the user that vmd runs as may do everything. Beyond them ``vmd.yaml`` in the configuration's directory says
who may read and who may write; without that file the members of the group vmd may do both. Who asks is told by the
kernel (``SO_PEERCRED`` and ``SO_PEERGROUPS``), at every request. The socket's mode lets nobody connect who may
nothing, as far as a mode can say that.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..definition.document import Source
from ..definition.settings import Grant, parse_settings
from ..errors import Forbidden
from ..protocol import GROUP
from .peer import Peer
from .routes import Right

FILE = "vmd.yaml"
LIMIT = 64 << 10
"""Bytes of the file that are read."""


@dataclass(frozen=True)
class Granted:
    """Numbers of users and groups that have a right."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def to(self, peer: Peer) -> bool:
        """Whether it is granted to who asks."""
        return peer.uid in self.uids or not self.gids.isdisjoint((peer.gid, *peer.groups))


@dataclass(frozen=True)
class Access:
    """Who may look, and who may change something as well."""

    read: Granted = Granted()
    write: Granted = Granted()
    faults: tuple[str, ...] = ()

    def check(self, peer: Peer, right: Right, what: str) -> None:
        """See that who asks may.

        :raise Forbidden: may not.
        """
        own = peer.uid in (0, os.geteuid())
        if own or self.write.to(peer) or (right == "read" and self.read.to(peer)):
            return
        hint = "root, or who has the right in vmd.yaml, may; without that file the group vmd"
        raise Forbidden(f"{user(peer.uid)} (uid {peer.uid}) may not {right} here: {what}", hint)

    @property
    def mode(self) -> tuple[int, int]:
        """Mode and group of the control socket: as narrow as a mode can be for these rights."""
        uids, gids = self.read.uids | self.write.uids, self.read.gids | self.write.gids
        if not uids and len(gids) <= 1:
            return (0o660, min(gids)) if gids else (0o600, -1)
        return 0o666, -1


def load(config: str) -> Access:
    """Read who may do what from the configuration; what is at fault in it grants nobody anything."""
    path = Path(config) / FILE
    try:
        with path.open("rb") as file:
            found = parse_settings(Source(str(path), file.read(LIMIT)))
    except FileNotFoundError:
        return _default()
    except OSError as error:
        return Access(faults=(f"{path}: can't be read: {error.strerror}",))
    if found.settings.access is None:
        return _default()
    faults = [str(fault) for fault in found.faults]
    read, write = (
        _numbers(grant, path, faults) for grant in (found.settings.access.read, found.settings.access.write)
    )
    return Access(read, write, tuple(faults))


def _default() -> Access:
    """The system's daemon serves its group; a user's own serves its user."""
    if os.geteuid() != 0:
        return Access()
    return Access(write=_numbers(Grant(groups=(GROUP,)), Path(FILE), []))


def _numbers(grant: Grant, path: Path, faults: list[str]) -> Granted:
    uids, gids = set(), set()
    for name in grant.users:
        try:
            uids.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            faults.append(f"{path}: there is no user {name!r}")
    for name in grant.groups:
        try:
            gids.add(grp.getgrnam(name).gr_gid)
        except KeyError:
            faults.append(f"{path}: there is no group {name!r}")
    return Granted(frozenset(uids), frozenset(gids))


@lru_cache(maxsize=256)
def user(uid: int) -> str:
    """The name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
