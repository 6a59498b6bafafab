"""The daemon in the foreground: wiring, signals, exit status."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import pwd
import signal
import sys
from pathlib import Path

from .. import __version__
from ..definition.layout import Layout
from ..errors import VmdError
from ..host import files
from ..host.credentials import Credentials, credentials_of
from ..protocol import Directories, directories
from . import wishes
from .api import Api
from .change import Changes
from .events import Events
from .facts import Facts
from .home import Home
from .keep import Keeper
from .serve import listen

log = logging.getLogger("vmd")

QEMU_USERS = ("vmd-qemu", "nobody")
"""As whom QEMU runs when vmd is root: its own user where there is one, else the one with the fewest rights."""


def main() -> int:
    """Keep guests until told to stop; they live on."""
    parser = argparse.ArgumentParser(prog="vmd", description="Keep this machine's guests as they are defined.")
    parser.add_argument("--version", action="version", version=f"vmd {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
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
    with files.Lock(Path(own.runtime) / "vmd.lock", f"the daemon of {own.runtime}"):
        user = qemu_user()
        keeper = Keeper(Home(layout, Events(), Facts(layout, user), user))
        keeper.load()
        await keeper.adopt()
        api = Api(keeper)
        server = await listen(Path(own.socket), api, *_access())
        log.info("vmd %s keeps %s; control socket %s", __version__, own.fleet, own.socket)
        starting = asyncio.create_task(_autostart(api.changes, Path(layout.started)))
        try:
            await _until_told(keeper)
        finally:
            starting.cancel()
            server.close()
            Path(own.socket).unlink(missing_ok=True)
            await keeper.release()


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


def _access() -> tuple[int, int]:
    """Mode and group of the control socket: group vmd may use the system's daemon, nobody else a user's own."""
    if os.geteuid() != 0:
        return 0o600, -1
    import grp  # noqa: PLC0415 - of no use to a user's own daemon

    try:
        return 0o660, grp.getgrnam("vmd").gr_gid
    except KeyError:
        return 0o600, -1


if __name__ == "__main__":
    sys.exit(main())
