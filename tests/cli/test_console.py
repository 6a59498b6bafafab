"""The console as people, pipes, socat and expect use it, on a real pipe or terminal."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Speaker
from .test_change import read_terminal

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: vmd-console\r\n\r\n"
RAW = (sys.executable, "-m", "vmd.cli", "console", "alice", "--raw")
ATTACH = (sys.executable, "-m", "vmd.cli", "console", "alice")


def echo(connection: socket.socket) -> None:
    """Be a guest that says what it hears, in capitals, until it hears no more."""
    connection.sendall(UPGRADED + b"login: ")
    while block := connection.recv(65536):
        connection.sendall(block.upper())


def echo_late(connection: socket.socket) -> None:
    """Be a guest whose console ends with the one side of it: what it hears is said only if that side waits."""
    connection.sendall(UPGRADED)
    block = connection.recv(65536)
    connection.setblocking(False)
    if not select.select([connection], [], [], 0.2)[0]:  # readable is: hung up
        connection.sendall(block.upper())


def say_and_end(connection: socket.socket) -> None:
    connection.sendall(UPGRADED)
    connection.sendall(bytes(range(256)) * 4000)


def raw(environ: dict[str, str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(RAW, input=stdin, capture_output=True, check=False, env=environ)


def test_a_pipe_carries_every_byte_and_nothing_else(speaker: Speaker, environ: dict[str, str]) -> None:
    speaker.says["POST /v1/guests/alice/console?tail=0"] = echo
    octets = bytes(range(256)).upper() * 4000
    done = raw(environ, octets)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"login: " + octets


def test_a_pipe_ends_when_the_guest_does(speaker: Speaker, environ: dict[str, str]) -> None:
    speaker.says["POST /v1/guests/alice/console?tail=0"] = say_and_end
    with subprocess.Popen(RAW, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == bytes(range(256)) * 4000
        assert process.wait() == 0


def test_an_answer_is_waited_for_after_the_last_word(speaker: Speaker, environ: dict[str, str]) -> None:
    speaker.says["POST /v1/guests/alice/console?tail=0"] = echo_late
    assert raw(environ, b"hello").stdout == b"HELLO"


def test_a_tail_is_asked_for(speaker: Speaker, environ: dict[str, str]) -> None:
    speaker.says["POST /v1/guests/alice/console?tail=100"] = say_and_end
    done = subprocess.run((*RAW, "--tail", "100"), input=b"", capture_output=True, check=False, env=environ)
    assert done.returncode == 0


def test_a_guest_without_console_is_told(speaker: Speaker, environ: dict[str, str]) -> None:
    speaker.json(
        "POST /v1/guests/alice/console?tail=0", {"error": "alice is stopped", "hint": "", "exit_code": 1}, 409
    )
    done = raw(environ, b"")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"vmctl: alice is stopped\n")


class Terminal:
    """vmctl on a terminal of its own."""

    def __init__(self, argv: tuple[str, ...], environ: dict[str, str]) -> None:
        self.ours, self._theirs = pty.openpty()
        self.before = termios.tcgetattr(self._theirs)
        self.process = subprocess.Popen(
            argv, stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, env=environ, start_new_session=True
        )

    def expect(self, text: bytes) -> bytes:
        said = b""
        while text not in said:
            assert select.select([self.ours], [], [], 60)[0], f"only {said!r}"
            said += read_terminal(self.ours)
        return said

    def settings(self) -> object:
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(speaker: Speaker, environ: dict[str, str]) -> Iterator[Terminal]:
    speaker.says["POST /v1/guests/alice/console?tail=4096"] = echo
    terminal = Terminal(ATTACH, environ)
    yield terminal
    terminal.close()


def test_a_person_attaches_types_and_leaves(terminal: Terminal) -> None:
    assert b"[alice: Ctrl-] leaves]" in terminal.expect(b"login: ")
    os.write(terminal.ours, b"root\x03\x1a")  # Ctrl-C and Ctrl-Z are the guest's
    terminal.expect(b"ROOT\x03\x1a")
    assert terminal.settings() != terminal.before
    os.write(terminal.ours, b"\x1d")
    terminal.expect(b"[alice: left]")
    assert terminal.process.wait() == 0
    assert terminal.settings() == terminal.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(terminal: Terminal, number: signal.Signals) -> None:
    terminal.expect(b"login: ")
    terminal.process.send_signal(number)
    assert terminal.process.wait() == 128 + number
    assert terminal.settings() == terminal.before


def test_a_console_that_closes_is_told(speaker: Speaker, environ: dict[str, str]) -> None:
    speaker.says["POST /v1/guests/alice/console?tail=4096"] = UPGRADED + b"bye"
    terminal = Terminal(ATTACH, environ)
    terminal.expect(b"[alice: vmd closed the console]")
    assert terminal.process.wait() == 0
    assert terminal.settings() == terminal.before
    terminal.close()


@pytest.mark.skipif(not shutil.which("socat"), reason="socat is not installed")
def test_socat_reaches_the_guest(speaker: Speaker, environ: dict[str, str]) -> None:
    speaker.says["POST /v1/guests/alice/console?tail=0"] = echo
    argv = (str(shutil.which("socat")), "-t60", "-", f"EXEC:{' '.join(RAW)}")
    done = subprocess.run(argv, input=b"hello", capture_output=True, check=True, env=environ)
    assert done.stdout == b"login: HELLO"


@pytest.mark.skipif(not shutil.which("expect"), reason="expect is not installed")
@pytest.mark.parametrize(("argv", "tail"), [(RAW, 0), (ATTACH, 4096)], ids=["raw", "attached"])
def test_expect_converses(
    speaker: Speaker, environ: dict[str, str], tmp_path: Path, argv: tuple[str, ...], tail: int
) -> None:
    speaker.says[f"POST /v1/guests/alice/console?tail={tail}"] = echo
    script = tmp_path / "script"
    fail = "timeout {exit 9} eof {exit 8}"
    script.write_text(
        f'set timeout 60\nspawn {" ".join(argv)}\nexpect "login: " {{}} {fail}\n'
        f'send "root\\r"\nexpect "ROOT\\r" {{}} {fail}\nsend "\\035"\nexpect eof\n'
    )
    done = subprocess.run((str(shutil.which("expect")), str(script)), capture_output=True, check=False, env=environ)
    assert done.returncode == 0, done.stdout
    assert b"root" not in done.stdout.partition(b"login: ")[2]  # nothing echoed what was typed but the guest
