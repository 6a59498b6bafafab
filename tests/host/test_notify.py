"""What is told to a service manager, and what it hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmd.host import notify


@pytest.fixture
def door(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's ear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(30)
        yield ear


def test_words_are_told_a_line_each(door: socket.socket) -> None:
    told = notify.manager({"NOTIFY_SOCKET": door.getsockname()}, 1)
    assert told.tell(READY=1, STATUS="two\nlines")
    assert door.recv(4096) == b"READY=1\nSTATUS=two lines"


def test_an_abstract_socket_is_reached_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0vmd-test-{os.getpid()}")
        assert notify.manager({"NOTIFY_SOCKET": f"@vmd-test-{os.getpid()}"}, 1).tell(WATCHDOG=1)
        assert ear.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere"}])
def test_where_nobody_listens_nothing_is_lost_but_the_words(environ: dict[str, str]) -> None:
    assert not notify.manager(environ, 1).tell(READY=1)


def test_a_manager_that_does_not_read_is_not_waited_for(door: socket.socket) -> None:
    told = notify.manager({"NOTIFY_SOCKET": door.getsockname()}, 1)
    assert not all(told.tell(STATUS="x" * 1000) for _ in range(5000))


@pytest.mark.parametrize(
    ("environ", "patience"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_of_who_is_meant(environ: dict[str, str], patience: float | None) -> None:
    assert notify.manager(environ, 7).watchdog == patience


HANDED = """
import os, sys
from vmd.host import notify
found = notify.sockets({**os.environ, "LISTEN_PID": sys.argv[1] or str(os.getpid())}, os.getpid())
print({name: (each.getsockname(), each.get_inheritable()) for name, each in found.items()})
"""


@pytest.mark.parametrize("pid", ["", "1"], ids=["ours", "another's"])
def test_handed_sockets_come_by_their_names(tmp_path: Path, pid: str) -> None:
    """They begin at 3, so a process of its own takes them."""
    with socket.socket(socket.AF_UNIX) as listener, (tmp_path / "no socket").open("w") as file:
        listener.bind(str(tmp_path / "control"))
        argv = (sys.executable, "-c", HANDED, pid)
        environ = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "control:file", "PYTHONPATH": str(Path(__file__).parents[2])}

        def place() -> None:
            held = [os.dup(fd) for fd in (listener.fileno(), file.fileno())]
            for index, fd in enumerate(held):
                os.dup2(fd, notify.FIRST_FD + index)

        done = subprocess.run(
            argv, env=environ, capture_output=True, text=True, check=False, preexec_fn=place, close_fds=False
        )
    assert done.returncode == 0, done.stderr
    expected = {} if pid else {"control": (str(tmp_path / "control"), False)}
    assert done.stdout.strip() == str(expected)


def test_what_was_meant_for_us_is_told_to_no_child() -> None:
    environ = {"NOTIFY_SOCKET": "x", "LISTEN_FDS": "1", "WATCHDOG_USEC": "1", "PATH": "/bin"}
    notify.forget(environ)
    assert environ == {"PATH": "/bin"}


def test_another_s_service_is_not_ours() -> None:
    assert not notify.started_by_systemd({"SYSTEMD_EXEC_PID": "1"}, 7)
    assert not notify.started_by_systemd({}, 7)
