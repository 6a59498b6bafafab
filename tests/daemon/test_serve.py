"""The control socket under hands that mean it harm, or mean nothing."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator

import pytest

from tests.daemon.conftest import Tiny, open_to_all
from tests.daemon.house import Vmd


def post(path: str, body: object, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {"Host": "vmd", "Content-Length": str(len(content)), **headers}
    lines = [f"POST /v1/{path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    return "\r\n".join(lines).encode() + content


def get(path: str) -> str:
    return f"GET /v1/{path} HTTP/1.1\r\nHost: vmd\r\n\r\n"


@pytest.fixture(scope="module")
def shared(known: bytes, tiny: Tiny) -> Iterator[Vmd]:
    """One vmd for all these tests, with a guest that never runs: to outlive every one of them is its task."""
    directory = open_to_all()
    vmd = Vmd(directory)
    vmd.capabilities.write_bytes(known)
    vmd.tiny_disk = tiny.disk
    vmd.define_tiny("alice")
    with vmd.running():
        yield vmd
    shutil.rmtree(directory)


def lives(vmd: Vmd) -> None:
    status, body = vmd.ask(get("version"))
    assert (status, body["pid"]) == (200, vmd.pid)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        pytest.param(b"\x00\xff garbage\r\n\r\n", 400, id="garbage"),
        pytest.param(b"GET\r\n\r\n", 400, id="no-target"),
        pytest.param(b"GET /v1/guests HTTP/99\r\n\r\n", 400, id="version"),
        pytest.param(b"GET //[ HTTP/1.0\r\n\r\n", 400, id="torn-address"),
        pytest.param(b"GET /v1/guests HTTP/1.1\r\n\r\n", 400, id="no-host"),
        pytest.param(b"GET /v1/guests HTTP/1.0\r\nX: " + b"x" * 100_000, 431, id="huge-header"),
        pytest.param(b"GET /" + b"x" * 100_000 + b" HTTP/1.0\r\n\r\n", 431, id="huge-target"),
        pytest.param(post("up", {"guests": ["x" * (2 << 20)]}), 413, id="huge-body"),
        pytest.param(post("up", b"", **{"Content-Length": "-1"}), 400, id="negative-length"),
        pytest.param(post("up", b"", **{"Content-Length": "one"}), 400, id="length-in-words"),
        pytest.param(post("up", b"{"), 400, id="torn-json"),
        pytest.param(post("up", b"[" * 100_000), 400, id="deep-json"),
        pytest.param(post("up", b"\xff\xfe"), 400, id="not-utf-8"),
        pytest.param(post("up", ["alice"]), 400, id="a-list"),
        pytest.param(post("up", {}), 400, id="nobody-named"),
        pytest.param(post("up", {"guests": "alice"}), 400, id="a-word-for-a-list"),
        pytest.param(post("up", {"guests": [1]}), 400, id="a-number-for-a-name"),
        pytest.param(post("up", {"guests": ["../../etc"]}), 400, id="a-path-for-a-name"),
        pytest.param(post("up", {"guests": ["a\nb"]}), 400, id="a-newline-in-a-name"),
        pytest.param(post("up", {"guests": ["alice"], "wait": "heaven"}), 400, id="unknown-rung"),
        pytest.param(post("up", {"guests": ["alice"], "timeout": -1}), 400, id="negative-timeout"),
        pytest.param(post("up", b'{"guests": ["alice"], "timeout": NaN}'), 400, id="nan"),
        pytest.param(post("up", b'{"guests": ["alice"], "timeout": 1e999}'), 400, id="infinity"),
        pytest.param(post("up", {"guests": ["alice"], "keys": ['command="x" ssh-rsa AAAA']}), 400, id="no-key"),
        pytest.param(
            post("up", {"guests": ["alice"], "keys": ["ssh-rsa AAAAAAAAAAAAA\nssh-rsa B"]}), 400, id="2-keys"
        ),
        pytest.param(post("up", {"guests": ["alice"], "nonsense": 1}), 400, id="unknown-key"),
        pytest.param(post("up", {"guests": ["bob"]}), 404, id="no-such-guest"),
        pytest.param(post("destroy", {"guests": ["alice"]}), 404, id="unknown-verb"),
        pytest.param(get("guests/bob/argv"), 404, id="fact-of-nobody"),
        pytest.param(get("guests/alice/nonsense"), 404, id="unknown-fact"),
        pytest.param(get("guests/%2e%2e/log"), 404, id="dots"),
        pytest.param(get("guests/alice%00/log"), 404, id="nul"),
        pytest.param(get("guests?name=" + "&name=".join("x" * 1500)), 400, id="too-many-names"),
        pytest.param(get("nonsense"), 404, id="unknown-path"),
        pytest.param("DELETE /v1/guests HTTP/1.1\r\nHost: vmd\r\n\r\n", 405, id="unknown-method"),
        pytest.param(get("guests/alice/log"), 409, id="log-of-the-silent"),
        pytest.param(get("guests/alice/screenshot"), 409, id="screen-of-the-dead"),
        pytest.param(post("guests/alice/console", b""), 409, id="console-of-the-dead"),
    ],
)
def test_what_is_no_request_is_refused(shared: Vmd, asked: str | bytes, status: int) -> None:
    told, body = shared.ask(asked)
    assert told == status
    assert set(body) == {"error", "hint", "exit_code"}
    assert body["error"]
    lives(shared)


def test_an_unknown_release(shared: Vmd) -> None:
    done = shared.ctl("iso", "build", "../../x")
    assert done.code == 2
    assert "it builds debian-12" in done.err


def test_a_console_is_a_conversation(alice: Vmd) -> None:
    status, body = alice.ask(post("guests/alice/console", b""))
    assert status == 400
    assert "Upgrade" in body["hint"]
    status, _ = alice.ask(post("guests/alice/console?tail=many", b"", Upgrade="vmd-console", Connection="Upgrade"))
    assert status == 400


def test_one_who_says_half_a_request_holds_up_nobody(shared: Vmd) -> None:
    with shared.request("POST /v1/up HTTP/1.1\r\nHost: vmd\r\nContent-Length: 100\r\n\r\n{"):
        lives(shared)


@pytest.mark.boot  # he is given his time
def test_one_who_never_asks_is_shown_out(shared: Vmd) -> None:
    with shared.request("GET /v1/") as connection:
        assert connection.recv(1) == b""


def test_idle_clients_hold_up_nobody(shared: Vmd) -> None:
    idle = [shared.request("") for _ in range(200)]
    lives(shared)
    for connection in idle:
        connection.close()


def test_one_who_does_not_read_holds_up_nobody(shared: Vmd) -> None:
    with shared.request(get("events?follow=1")) as deaf:
        for _ in range(500):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(shared.socket))
                connection.sendall(get("guests").encode())
        lives(shared)
        assert deaf.recv(8) == b"HTTP/1.1"


def test_many_at_once(shared: Vmd) -> None:
    asked = [shared.request(get("guests")) for _ in range(100)]
    for connection in asked:
        with connection, connection.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 200 \r\n"
