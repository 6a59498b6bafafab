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
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .. import __version__
from ..definition.layout import Layout
from ..errors import UsageError, VmdError
from ..host import files
from ..host.credentials import Credentials, credentials_of
from ..host.watch import DirectoryWatch, FileWatch
from ..protocol import Directories, directories
from . import logbook, service, wishes
from .access import FILE as SETTINGS
from .api import Api
from .change import Changes
from .chronicle import Chronicle
from .events import Events
from .facts import Facts
from .heartbeat import Heartbeat
from .home import Home
from .keep import Keeper
from .scrape import serve_metrics
from .serve import grant, listen

log = logging.getLogger("vmd")

QEMU_USERS = ("vmd-qemu", "nobody")
"""As whom QEMU runs when vmd is root: its own user where there is one, else the one with the fewest rights."""


def main() -> int:
    """Keep guests until told to stop; they live on."""
    words = parser().parse_args()
    manager = service.begin()
    try:
        if (words.metrics is None) != (words.metrics_token is None):
            raise UsageError("--metrics and --metrics-token go together", "name an address, and a file with a token")
        with logbook.kept(verbose=words.verbose):
            asyncio.run(_keep(directories(os.environ, os.geteuid()), manager, words))
    except VmdError as error:
        sys.stderr.write(f"vmd: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return error.exit_code
    return 0


def parser() -> argparse.ArgumentParser:
    """The words that vmd takes."""
    words = argparse.ArgumentParser(prog="vmd", description="Keep this machine's guests as they are defined.")
    words.add_argument("--version", action="version", version=f"vmd {__version__}", help="say which it is, and end")
    words.add_argument("-v", "--verbose", action="store_true", help="say more in the log")
    words.add_argument("--metrics", metavar="ADDRESS:PORT", help="answer GET /metrics there, for Prometheus")
    words.add_argument(
        "--metrics-token", metavar="FILE", type=Path, help="the token that whoever asks there must have"
    )
    return words


async def _keep(own: Directories, manager: service.Manager, words: argparse.Namespace) -> None:
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
        home = Home(layout, Events(chronicle), Facts(layout, user), user, logs=_logs(), scopes=manager.scopes)
        home.events.emit("daemon", None, text=f"{__version__} keeps {own.fleet}", pid=os.getpid())
        keeper = Keeper(home)
        watches = _watch(keeper)  # before the first look, or a change in between would go unseen
        keeper.load()
        try:
            await keeper.adopt()
            await _serve(keeper, manager, words)
        finally:
            for watch in watches:
                watch.close()
            await keeper.release()
            await chronicle.close()


async def _serve(keeper: Keeper, manager: service.Manager, words: argparse.Namespace) -> None:
    """Answer on the control socket, and where else we are told to, until told to stop."""
    own, api, heart = keeper.home.layout.directories, Api(keeper), Heartbeat(manager.notify, keeper)
    control = Path(own.socket)
    with ExitStack() as open_now:
        if not manager.handed:
            open_now.callback(control.unlink, missing_ok=True)
        server = await listen(control, api, *keeper.access.mode, handed=manager.control(control))
        open_now.callback(server.close)
        if words.metrics:
            open_now.callback((await serve_metrics(words.metrics, words.metrics_token, api.measured)).close)
        keeper.on_load = lambda: grant(control, *keeper.access.mode)
        log.info("vmd %s keeps %s; control socket %s", __version__, own.fleet, own.socket)
        autostart = _autostart(api.changes, Path(keeper.home.layout.started))
        open_now.enter_context(_background(heart.beat(), autostart, *api.tally.work(keeper)))
        heart.ready()
        await _until_told(keeper, heart)
        heart.stopping()


@contextmanager
def _background(*work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Have all of this done meanwhile."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


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
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
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


async def _until_told(keeper: Keeper, heart: Heartbeat) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, keeper, heart)
    await stop.wait()


def _reload(keeper: Keeper, heart: Heartbeat) -> None:
    heart.reloading()
    keeper.load()
    heart.ready()


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
