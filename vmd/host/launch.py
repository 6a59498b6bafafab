"""How a process is made: by vfork, whoever it shall run as."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import Any

from vmd.errors import CommandFailed
from vmd.host.credentials import Credentials


def privileges(user: Credentials | None, *, die_with_parent: bool) -> tuple[str, ...]:
    """What setpriv is to do first. CPython could change the user itself, but not with vfork (3.11 to 3.13).

    To fork a daemon of 45 MB takes 3.2 ms, in which it does nothing else; vfork takes 0.2.
    """
    found: tuple[str, ...] = ("--pdeathsig", "KILL") if die_with_parent else ()
    if user is not None:
        groups = ("--groups", ",".join(map(str, user.groups))) if user.groups else ("--clear-groups",)
        found += ("--reuid", str(user.uid), "--regid", str(user.gid), *groups)
    return found


def launch(argv: tuple[str, ...], output: int, changes: tuple[str, ...], options: dict[str, Any]) -> int:
    """Start a program in a session of its own, and return its pid; nothing else may wait for it.

    It goes by way of setpriv (util-linux 2.33), in the same process, where it ``changes`` privileges.

    :raise CommandFailed: it can't be started; 127: there is no such program.
    """
    path = (options["env"] or os.environ).get("PATH")
    if changes and shutil.which(argv[0], path=path):  # else let exec itself say that there is no such program
        argv = ("setpriv", *changes, "--", *argv)
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **options
        )
    except OSError as error:
        # A directory of PATH that may not be read makes it EACCES, though the program is nowhere.
        nowhere = error.errno == errno.ENOENT or ("/" not in argv[0] and not shutil.which(argv[0]))
        missing = nowhere and error.filename == argv[0]
        raise CommandFailed(argv, 127 if missing else 126, str(error)) from error
    child.returncode = 0  # from here on the pidfd is the child; Popen would poll it, and warn that it lives
    return child.pid
