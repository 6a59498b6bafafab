"""The daemon in the foreground: wiring, signals, exit status."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import pwd
import resource
import signal
import sys
from pathlib import Path

from .. import __version__
from ..definition.layout import Layout
from ..errors import VmdError
from ..host import files
from ..host.credentials import Credentials, credentials_of
from ..host.watch import DirectoryWatch, FileWatch
from ..protocol import Directories, directories
from . import logbook, wishes
from .access import FILE as SETTINGS
from .api import Api
from .change import Changes
from .chronicle import Chronicle
from .events import Events
from .facts import Facts
from .home import Home
from .keep import Keeper
from .serve import grant, listen

log = logging.getLogger("vmd")

QEMU_USERS = ("vmd-qemu", "nobody")
"""As whom QEMU runs when vmd is root: its own user where there is one, else the one with the fewest rights."""


def main() -> int:
    """Keep guests until told to stop; they live on."""
    parser = argparse.ArgumentParser(prog="vmd", description="Keep this machine's guests as they are defined.")
    parser.add_argument("--version", action="version", version=f"vmd {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    arguments = parser.parse_args()
    try:
        with logbook.kept(verbose=arguments.verbose):
            asyncio.run(_keep(directories(os.environ, os.geteuid())))
    except VmdError as error:
        sys.stderr.write(f"vmd: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return error.exit_code
    return 0


async def _keep(own: Directories) -> None:
    os.umask(0o077)
    private = 0o711 if os.geteuid() == 0 else 0o700
    for directory in (own.state, own.runtime):
        files.make_directory(Path(directory), private)
    layout = Layout(own)
    layout.check_socket_length(())
    _raise_limit()
    with files.Lock(Path(own.runtime) / "vmd.lock", f"the daemon of {own.runtime}"):
        user = qemu_user()
        chronicle = Chronicle(Path(layout.events))
        home = Home(layout, Events(chronicle), Facts(layout, user), user, logs=_logs())
        home.events.emit("daemon", None, text=f"{__version__} keeps {own.fleet}", pid=os.getpid())
        keeper = Keeper(home)
        keeper.load()
        try:
            await keeper.adopt()
            await _serve(keeper)
        finally:
            await keeper.release()
            await chronicle.close()


async def _serve(keeper: Keeper) -> None:
    """Answer on the control socket until told to stop."""
    own, layout, api = keeper.home.layout.directories, keeper.home.layout, Api(keeper)
    server = await listen(Path(own.socket), api, *keeper.access.mode)
    keeper.on_load = lambda: grant(Path(own.socket), *keeper.access.mode)
    log.info("vmd %s keeps %s; control socket %s", __version__, own.fleet, own.socket)
    starting = asyncio.create_task(_autostart(api.changes, Path(layout.started)))
    watching = _watch(keeper)
    try:
        await _until_told(keeper)
    finally:
        starting.cancel()
        server.close()
        Path(own.socket).unlink(missing_ok=True)
        for watch in watching:
            watch.close()


def _watch(keeper: Keeper) -> list[DirectoryWatch]:
    """Read the definitions and the settings again when they change; where nothing can be watched, SIGHUP remains."""
    own = keeper.home.layout.directories
    try:
        return [
            DirectoryWatch(Path(own.fleet), keeper.load, suffix=".yaml"),
            DirectoryWatch(Path(own.config), keeper.load, suffix=SETTINGS),
        ]
    except VmdError as error:
        log.warning("changes are noticed only by SIGHUP and vmctl reload: %s", error)
        return []


def _logs() -> FileWatch | None:
    try:
        return FileWatch()
    except VmdError as error:
        log.warning("QEMU's own logs have no bound: %s", error)
        return None


def _raise_limit() -> None:
    """Take as many file descriptors as we may: each guest takes a few, each client one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _autostart(changes: Changes, marker: Path) -> None:
    """Start what is marked ``autostart``, once after each boot of the host.

    A daemon that starts again in the same boot finds the marker, and leaves down what the operator put down.
    """
    if marker.exists() and marker.read_text().strip() == files.boot_id():
        return
    files.write_atomic(marker, files.boot_id() + "\n")
    names = [name for name, guest in changes.home.fleet.guests.items() if guest.autostart]
    if names:
        async for _ in changes.up(wishes.Up(guests=names)):
            pass  # each step is an event, and in the log; nobody waits for the outcome


async def _until_told(keeper: Keeper) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, keeper.load)
    await stop.wait()


def qemu_user() -> Credentials | None:
    """As whom QEMU runs; None means as ourselves. ``VMD_QEMU_USER`` names another.

    :raise VmdError: that user isn't there.
    """
    if os.geteuid() != 0:
        return None
    named = os.environ.get("VMD_QEMU_USER")
    if named is not None:
        return credentials_of(named) if named != "root" else None
    return credentials_of(next(name for name in QEMU_USERS if _exists(name)))


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
