"""HTTP on a real socket, with answers good and bad."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vmd.cli.client import BadAnswerError, Client, DaemonError, decoded, places, route
from vmd.errors import NoDaemon, UsageError, VmdError

from .conftest import HEAD, Speaker, answer


@pytest.fixture
def client(speaker: Speaker) -> Client:
    return Client(str(speaker.path))


def test_a_fact_is_got(speaker: Speaker, client: Client) -> None:
    speaker.json("GET /v1/version", {"version": "1"})
    assert client.get("/version") == {"version": "1"}


def test_a_fact_without_a_length_ends_with_the_connection(speaker: Speaker, client: Client) -> None:
    speaker.says["GET /v1/version"] = HEAD + b'{"version": "1"}'
    assert client.get("/version") == {"version": "1"}


def test_what_follows_the_body_is_not_the_body(speaker: Speaker, client: Client) -> None:
    speaker.says["GET /v1/version"] = answer(b"{}") + b"more"
    assert client.get("/version") == {}


def test_a_body_is_posted(speaker: Speaker, client: Client) -> None:
    speaker.json("POST /v1/reload", {"guests": []})
    assert client.post("/reload", {"key": "ü"}) == {"guests": []}
    assert speaker.told("POST /v1/reload") == {"key": "ü"}


def test_a_refusal_keeps_message_hint_and_exit_code(speaker: Speaker, client: Client) -> None:
    speaker.json("GET /v1/guests", {"error": "no guest bob", "hint": "see vmctl list", "exit_code": 3}, status=404)
    with pytest.raises(DaemonError) as refused:
        client.get("/guests")
    assert (refused.value.message, refused.value.hint, refused.value.exit_code) == (
        "no guest bob",
        "see vmctl list",
        3,
    )


@pytest.mark.parametrize("body", [b"", b"oops", b"[]", b"{}", b'{"error": "x", "exit_code": [1]}'])
def test_a_refusal_without_reason_says_its_status(speaker: Speaker, client: Client, body: bytes) -> None:
    speaker.says["GET /v1/guests"] = answer(body, 500)
    with pytest.raises(BadAnswerError, match="status 500"):
        client.get("/guests")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "hung up"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak HTTP"),
        (b"SSH-2.0-OpenSSH_9.2", "does not speak HTTP"),
        (b"HTTP/1.1 ok\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", "hung up"),
        (answer(b"<html>"), "not JSON"),
        (answer(b"\xff"), "not JSON"),
        (answer(b"[1]"), "not a JSON object"),
    ],
    ids=["nothing", "ssh", "short", "status", "endless", "cut", "html", "bytes", "list"],
)
def test_a_bad_answer_is_told(speaker: Speaker, client: Client, said: bytes, why: str) -> None:
    speaker.says["GET /v1/guests"] = said
    with pytest.raises(BadAnswerError, match=why):
        client.get("/guests")


def test_a_large_answer_is_read_whole(speaker: Speaker, client: Client) -> None:
    text = "x" * 20_000_000
    speaker.json("GET /v1/guests", {"text": text})
    assert client.get("/guests")["text"] == text


def test_an_answer_without_end_is_given_up(speaker: Speaker, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmd.cli.client._BODY", 1_000_000)
    speaker.says["GET /v1/guests"] = HEAD + b"x" * 3_000_000
    with pytest.raises(BadAnswerError, match="larger"):
        client.get("/guests")


def test_lines_come_one_by_one_however_they_are_sent(speaker: Speaker, client: Client) -> None:
    def drop_by_drop(connection: socket.socket) -> None:
        for octet in HEAD + b'{"a": 1}\n{"b": 2}\n':
            connection.sendall(bytes([octet]))

    speaker.says["GET /v1/events"] = drop_by_drop
    assert [decoded(line) for line in client.lines("GET", "/events")] == [{"a": 1}, {"b": 2}]


def test_a_line_is_there_before_the_next(speaker: Speaker, client: Client) -> None:
    def wait_for_the_reader(connection: socket.socket) -> None:
        connection.sendall(HEAD + b'{"a": 1}\n')
        connection.recv(1)  # until the reader has gone

    speaker.says["GET /v1/events"] = wait_for_the_reader
    lines = client.lines("GET", "/events")
    assert next(lines) == b'{"a": 1}\n'


def test_half_a_line_is_told(speaker: Speaker, client: Client) -> None:
    speaker.says["GET /v1/events"] = HEAD + b'{"a": 1}\n{"b"'
    lines = client.lines("GET", "/events")
    assert next(lines) == b'{"a": 1}\n'
    with pytest.raises(BadAnswerError, match="hung up"):
        next(lines)


def test_bytes_come_as_they_are(speaker: Speaker, client: Client) -> None:
    octets = bytes(range(256)) * 1000
    speaker.says["GET /v1/guests/alice/log"] = HEAD + octets
    assert b"".join(client.stream("/guests/alice/log")) == octets


def test_a_console_that_is_refused_is_told(speaker: Speaker, client: Client) -> None:
    speaker.json("POST /v1/guests/a/console", {"error": "a is stopped", "hint": "", "exit_code": 1}, status=409)
    with pytest.raises(DaemonError, match="a is stopped"):
        client.attach("/guests/a/console")


def test_nobody_listens(place: Path) -> None:
    with pytest.raises(NoDaemon, match=r"vmd\.sock.*No such file.*systemctl start vmd"):
        Client(str(place / "vmd.sock")).get("/guests")


def test_a_dead_daemons_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place / "vmd.sock"))
    with pytest.raises(NoDaemon, match="Connection refused"):
        Client(str(place / "vmd.sock")).get("/guests")


def test_a_path_too_long_for_a_socket(place: Path) -> None:
    with pytest.raises(NoDaemon, match="too long"):
        Client(str(place / ("x" * 120))).get("/guests")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can try as somebody else")
def test_a_socket_that_is_not_ours(speaker: Speaker, place: Path) -> None:
    place.chmod(0o755)
    speaker.path.chmod(0o600)
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    ask = "import sys; from vmd.cli.client import Client; Client(sys.argv[1]).get('/guests')"
    bare = (sys.executable, "-c", "import vmd.cli.client")
    if subprocess.run(bare, user=65534, cwd="/", capture_output=True, check=False).returncode:
        pytest.skip("nobody may not read this tree")
    for script, said in ((connect, "Permission denied"), (ask, "join the group vmd")):
        argv = (sys.executable, "-c", script, str(speaker.path))
        done = subprocess.run(argv, user=65534, cwd="/", capture_output=True, text=True, check=False)
        assert said in done.stderr


@pytest.mark.parametrize(
    ("parts", "query", "expected"),
    [
        (("guests",), {}, "/guests"),
        (("guests",), {"name": ["a", "b c"]}, "/guests?name=a&name=b%20c"),
        (("guests", "a/../b", "argv"), {}, "/guests/a%2F..%2Fb/argv"),
        (("guests", "ü?#%"), {"follow": "", "install": "1"}, "/guests/%C3%BC%3F%23%25?install=1"),
    ],
)
def test_targets_are_encoded(parts: tuple[str, ...], query: dict[str, str], expected: str) -> None:
    assert route(*parts, **query) == expected


@pytest.mark.parametrize("name", ["", ".", "..", "a\r\nb", "a\0"])
def test_what_is_no_name_goes_nowhere(name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        route("guests", name)


@pytest.mark.parametrize("text", [b"", b"null", b"{", json.dumps("x").encode()])
def test_a_line_that_is_no_object(text: bytes) -> None:
    with pytest.raises(VmdError, match="JSON"):
        decoded(text)


def test_directories_that_are_named_count(environ: dict[str, str], place: Path) -> None:
    assert places(environ, 1000).socket == str(place / "runtime" / "vmd.sock")


def test_a_users_own_daemon_comes_first(place: Path) -> None:
    own = {"HOME": str(place), "XDG_RUNTIME_DIR": str(place)}
    (place / ".config" / "vmd" / "fleet.d").mkdir(parents=True)
    assert places(own, 1000).socket == str(place / "vmd" / "vmd.sock")
