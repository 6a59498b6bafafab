"""A small daemon on a real socket, that says what a test has it say."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

Conversation = Callable[[socket.socket], None]


class Speaker:
    """Answers each request by what stands under its first line's ``METHOD TARGET``."""

    def __init__(self, runtime: Path) -> None:
        self.path = runtime / "vmd.sock"
        self.says: dict[str, bytes | Conversation] = {}
        self.heard: list[tuple[str, bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def json(self, target: str, body: object, status: int = 200) -> None:
        self.says[target] = answer(json.dumps(body).encode(), status)

    def stream(self, target: str, *events: Mapping[str, Any]) -> None:
        self.says[target] = HEAD + lines(*events)

    def told(self, target: str) -> Any:
        """The JSON of the one request to a target."""
        (body,) = [body for heard, body in self.heard if heard == target]
        return json.loads(body)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as reader:
            target = b" ".join(reader.readline().split()[:2]).decode()
            length = 0
            while (field := reader.readline().strip()) != b"":
                name, _, value = field.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.heard.append((target, reader.read(length)))
        what = self.says.get(target, answer(b'{"error": "not in this test", "hint": "", "exit_code": 1}', 404))
        try:
            if callable(what):
                what(connection)
            else:
                connection.sendall(what)
        except OSError:
            return  # the client left, as some tests have it do


HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"


def answer(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def lines(*events: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps({"time": 1.5, "guest": "alice", **event}).encode() + b"\n" for event in events)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path: a unix socket's has 108 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="vmd") as directory:
        yield Path(directory)


@pytest.fixture
def environ(place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Directories of the test's own, for this process and those it starts; a user without a key."""
    for name in ("config", "state", "runtime", "home"):
        (place / name).mkdir()
        monkeypatch.setenv(f"VMD_{name.upper()}_DIR" if name != "home" else "HOME", str(place / name))
    for name in ("SSH_AUTH_SOCK", "PYTHONUNBUFFERED"):  # a user's agent has keys; unbuffered, a pipe is another
        monkeypatch.delenv(name, raising=False)
    return dict(os.environ)


@pytest.fixture
def speaker(place: Path, environ: dict[str, str]) -> Iterator[Speaker]:
    speaker = Speaker(place / "runtime")
    yield speaker
    speaker.close()


@pytest.fixture
def vmctl(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run vmctl as a process."""

    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        argv = (sys.executable, "-m", "vmd.cli", *words)
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, env=environ)

    return run


def status(name: str = "alice", **facts: Any) -> dict[str, Any]:
    """A guest of which nothing is known, as the API says it, but for ``facts``."""
    silent = dict.fromkeys(("rung", "pid", "since", "error", "progress", "defined", "ssh"))
    known = {"name": name, "state": "stopped", "addresses": [], "restarts": 0, "pending": []}
    return {**silent, **known, "memory": 1 << 30, "cpus": 2, **facts}


def outcome(**guests: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome as the API says it: of guests that are running, but for the facts given."""
    well = {"ok": True, "state": "running", "rung": "ssh", "error": None, "hint": None, "exit_code": 0}
    found = {name: {**well, **facts} for name, facts in guests.items()}
    code = max((guest["exit_code"] for guest in found.values()), default=0)
    return {"event": "outcome", "guest": None, "ok": not code, "exit_code": code, "guests": found}
