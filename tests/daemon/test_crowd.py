"""Clients that say nothing, clients that hang on, and guests that hang: each costs the others nothing."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon.house import PATIENCE, Vmd, finish
from vmd.daemon.crowd import STAYING_EACH, WAITING, Crowd, Crowded


@contextmanager
def descriptors(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"this process may have only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connected(vmd: Vmd, stay: ExitStack) -> socket.socket:
    connection = stay.enter_context(socket.socket(socket.AF_UNIX))
    connection.connect(str(vmd.socket))
    connection.settimeout(PATIENCE)
    return connection


def test_thousands_who_say_nothing_keep_nobody_out(vmd: Vmd) -> None:
    with descriptors(4000), ExitStack() as stay:
        silent = [connected(vmd, stay) for _ in range(3000)]
        assert vmd.ctl("version").code == 0
        assert silent[0].recv(1) == b""  # the one that had waited longest made room
        held = len(list(Path(f"/proc/{vmd.pid}/fd").iterdir()))
        assert held < WAITING + 100
        assert vmd.ctl("list").code == 0


def test_half_a_request_is_no_better_than_none(vmd: Vmd) -> None:
    with descriptors(4000), ExitStack() as stay:
        for _ in range(WAITING + 50):
            connected(vmd, stay).sendall(b"POST /v1/up HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        assert vmd.ctl("version").code == 0


def test_a_user_who_follows_too_much_is_told_so_and_may_still_ask(vmd: Vmd) -> None:
    with descriptors(4000), ExitStack() as stay:
        for _ in range(STAYING_EACH):
            connection = connected(vmd, stay)
            connection.sendall(b"GET /v1/events?follow=1 HTTP/1.0\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        status, body = vmd.ask("GET /v1/events?follow=1 HTTP/1.0\r\n\r\n")
        assert (status, body["exit_code"]) == (503, 1)
        assert vmd.ctl("list").code == 0
    while _first(vmd) == b"HTTP/1.1 503":  # until vmd has seen that they left
        pass
    assert _first(vmd) == b"HTTP/1.1 200"


def _first(vmd: Vmd) -> bytes:
    with ExitStack() as stay:
        connection = connected(vmd, stay)
        connection.sendall(b"GET /v1/events HTTP/1.0\r\n\r\n")
        return connection.recv(12)


def test_whoever_leaves_makes_room() -> None:
    crowd = Crowd()
    sent_away: list[int] = []
    with ExitStack() as stay:
        for number in range(WAITING + 2):
            stay.enter_context(crowd.waiting(lambda number=number: sent_away.append(number)))  # type: ignore[misc]
    assert sent_away == [0, 1]
    for _ in range(3):
        with ExitStack() as stay:
            for _ in range(STAYING_EACH):
                stay.enter_context(crowd.staying(7))
            with pytest.raises(Crowded):
                stay.enter_context(crowd.staying(7))
            stay.enter_context(crowd.staying(8))


@contextmanager
def hanging(pid: int) -> Iterator[None]:
    """A QEMU that answers nothing, while this lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_guest_that_hangs_delays_no_other(alice: Vmd) -> None:
    alice.define_tiny("alice", "bob")
    with hanging(alice.status()["pid"]):
        planning = alice.begin("plan", "alice")
        leading_down = alice.begin("down", "alice")
        alice.heard("state", state="stopping")
        assert alice.status("alice")["state"] == "stopping"
        assert alice.ctl("up", "bob").code == 0
        assert alice.ctl("down", "bob").code == 0
        assert {guest["name"] for guest in alice.ctl("list", "--json").json["guests"]} == {"alice", "bob"}
        assert leading_down.poll() is None  # all that was done for bob was done meanwhile
    assert finish(planning).code == 0
    assert finish(leading_down).code == 0


def test_qemus_own_words_have_a_bound(alice: Vmd) -> None:
    log = alice.guest() / "qemu.log"
    with log.open("ab", buffering=0) as spam:  # as QEMU has it open
        spam.write(b"qemu: spam\n" * 300_000)
        while log.stat().st_size:  # nobody tells when vmd has looked
            select.select([], [], [], 0.01)
        spam.write(b"qemu: more\n")
    assert log.with_name("qemu.log.1").read_bytes() == (b"qemu: spam\n" * 300_000)[-(1 << 20) :]
    assert log.read_bytes() == b"qemu: more\n"


def test_a_daemon_whose_words_nobody_reads_goes_on(home: Vmd) -> None:
    home.define_tiny("alice")
    reader, writer = os.pipe()
    os.write(writer, b"x" * fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ))  # it is full now
    with ExitStack() as stay:
        stay.callback(os.close, reader)
        daemon = stay.enter_context(_daemon(home, writer))
        os.close(writer)
        while home.ctl("version").code:  # until it listens
            assert daemon.poll() is None
        assert home.ctl("up", "alice").code == 0
        assert home.ctl("down", "alice").code == 0
        daemon.terminate()
        assert daemon.wait(PATIENCE) == 0


@contextmanager
def _daemon(home: Vmd, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    argv = (sys.executable, "-m", "vmd.daemon")
    with subprocess.Popen(argv, env=home.environ, stdin=subprocess.DEVNULL, stderr=stderr) as daemon:
        try:
            yield daemon
        finally:
            daemon.kill()


def test_the_limit_of_descriptors_is_raised(vmd: Vmd) -> None:
    (line,) = [line for line in Path(f"/proc/{vmd.pid}/limits").read_text().splitlines() if "open files" in line]
    soft, hard = line.split()[3:5]
    assert soft == hard
