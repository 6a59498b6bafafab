"""HTTP to the daemon over its unix socket.

Requests say HTTP/1.0, so that an answer is never chunked and ends where the connection does (RFC 9112, 6.1 and
6.3); only the console, which upgrades its connection, must say HTTP/1.1 (RFC 9110, 7.8). http.client would do the
same, and nearly double the time vmctl takes to start.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import NoDaemon, UsageError, VmdError
from ..protocol import API, CONSOLE, GROUP, Directories, directories

PATIENCE = 60.0
"""Seconds a fact may take; what takes longer by its nature, a stream, may be silent for ever."""

_HEAD = 64 * 1024  # bytes: an answer's head
_LINE = 16 * 1024 * 1024  # bytes: one event
_BODY = 256 * 1024 * 1024  # bytes: one fact, or a screenshot
_BLOCK = 64 * 1024

Json = dict[str, Any]


class DaemonError(VmdError):
    """What the daemon itself said is wrong; the exit code is the one it chose."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


class BadAnswerError(VmdError):
    """The daemon's answer is none: cut short, or not in the words of the protocol."""


class Answer(NamedTuple):
    """An answer whose head has been read: ``first`` is what came with the head, ``length`` of the body or None."""

    status: int
    length: int | None
    connection: socket.socket
    first: bytes

    def blocks(self) -> Iterator[bytes]:
        """Yield the body as it comes, until its end, and hang up.

        :raise BadAnswerError: if the connection ends before the length that was promised.
        """
        left, block = self.length, self.first
        with self.connection:
            while left != 0:
                if block:
                    yield block if left is None else block[:left]
                    left = None if left is None else max(left - len(block), 0)
                if left == 0 or not (block := _receive(self.connection)):
                    break
        if left:
            raise _cut_short()

    def whole(self) -> bytes:
        """Read the body to its end."""
        body = bytearray()
        for block in self.blocks():
            body += block
            if len(body) > _BODY:
                raise BadAnswerError(f"vmd's answer is larger than {_BODY >> 20} MiB")
        return bytes(body)


def places(environ: Mapping[str, str], uid: int) -> Directories:
    """The directories of the daemon to ask: the user's own, or the system's if this user never had one.

    Who has neither a daemon running nor a fleet's directory, and names no directory by ``VMD_…_DIR``, means the
    system's daemon.
    """
    own, system = directories(environ, uid), directories({}, 0)
    named = any(name.startswith("VMD_") and name.endswith("_DIR") for name in environ)
    if named or any(os.path.lexists(path) for path in (own.socket, own.fleet)):
        return own
    return system if os.path.lexists(system.socket) else own


class Client:
    """One daemon; each request is a connection of its own.

    Every method raises :class:`NoDaemon`, :class:`BadAnswerError`, and :class:`DaemonError` for what is refused.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def get(self, target: str) -> Json:
        """Ask for a fact: one JSON object."""
        return decoded(self._ask("GET", target, PATIENCE).whole())

    def post(self, target: str, body: Json) -> Json:
        """Tell something that is answered by one JSON object."""
        return decoded(self._ask("POST", target, PATIENCE, body).whole())

    def octets(self, target: str) -> bytes:
        """Ask for a fact that is no JSON: a picture."""
        return self._ask("GET", target, PATIENCE).whole()

    def stream(self, target: str) -> Iterator[bytes]:
        """Ask for bytes, and yield them as they come; it has been asked when this returns."""
        return self._ask("GET", target, None).blocks()

    def lines(self, method: str, target: str, body: Json | None = None) -> Iterator[bytes]:
        """Ask for JSON objects, and yield each line as it came; it has been asked when this returns."""
        return _lines(self._ask(method, target, None, body).blocks())

    def attach(self, target: str) -> tuple[socket.socket, bytes]:
        """Upgrade a connection to a guest's console: the socket, and the bytes that have already come."""
        head = f"POST {API}{target} HTTP/1.1\r\nHost: vmd\r\nConnection: Upgrade\r\nUpgrade: {CONSOLE}\r\n"
        answer = self._request(head, b"", None)
        if answer.status != 101:
            raise _refusal(answer)
        return answer.connection, answer.first

    def _ask(self, method: str, target: str, patience: float | None, body: Json | None = None) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else "Content-Type: application/json\r\n"
        answer = self._request(f"{method} {API}{target} HTTP/1.0\r\nHost: vmd\r\n{kind}", content, patience)
        if answer.status != 200:
            raise _refusal(answer)
        return answer

    def _request(self, head: str, content: bytes, patience: float | None) -> Answer:
        connection = _connect(self.path)
        connection.settimeout(patience)
        _send(connection, f"{head}Content-Length: {len(content)}\r\n\r\n".encode("ascii") + content)
        try:
            return _head(connection)
        except BaseException:
            connection.close()
            raise


def daemon() -> Client:
    """The daemon that this process's user asks."""
    return Client(places(os.environ, os.getuid()).socket)


def route(*parts: str, **query: str | Sequence[str]) -> str:
    """A request's target: parts joined by slashes, then the query; all percent-encoded, empty values left out.

    :raise UsageError: for a part that is no name, as it would lead elsewhere.
    """
    for part in parts:
        if part in {"", ".", ".."} or not part.isprintable():
            raise UsageError(f"{part!r} is no name of a guest")
    pairs = [
        f"{key}={_quoted(value)}"
        for key, values in query.items()
        for value in ((values,) if isinstance(values, str) else values)
        if value
    ]
    target = "".join(f"/{_quoted(part)}" for part in parts)
    return f"{target}?{'&'.join(pairs)}" if pairs else target


def _quoted(text: str) -> str:
    """RFC 3986, 2.1: everything but the unreserved characters as ``%XX``; urllib.parse costs 5 ms to import."""
    octets = text.encode("utf-8", "surrogateescape")
    return "".join(
        chr(octet) if octet < 128 and (chr(octet).isalnum() or octet in b"-._~") else f"%{octet:02X}"
        for octet in octets
    )


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except PermissionError as error:
        connection.close()
        raise NoDaemon(
            f"you may not talk to vmd at {path}", f"join the group {GROUP} (adduser $USER {GROUP}, then log in again)"
        ) from error
    except OSError as error:
        connection.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise NoDaemon(
            f"no daemon answers at {path} ({reason})", "start it: systemctl start vmd, or for yourself: vmd &"
        ) from error
    return connection


def _send(connection: socket.socket, octets: bytes) -> None:
    """Send a request; if it can't be sent whole, the answer says why: vmd gave it before it had read all."""
    try:
        connection.sendall(octets)
    except OSError:
        return


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(_BLOCK)
    except TimeoutError as error:
        raise BadAnswerError(
            f"vmd has not answered within {PATIENCE:.0f} s", "see what holds it up: journalctl -u vmd"
        ) from error
    except ConnectionError as error:
        raise _cut_short() from error


def _head(connection: socket.socket) -> Answer:
    octets = b""
    while b"\r\n\r\n" not in octets:
        block = _receive(connection)
        if not block and not octets:
            raise _cut_short()
        if not block or len(octets) > _HEAD:
            raise BadAnswerError("what answers on vmd's socket does not speak HTTP")
        octets += block
    head, _, first = octets.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    return Answer(_status(status), _length(fields), connection, first)


def _status(line: str) -> int:
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise BadAnswerError("what answers on vmd's socket does not speak HTTP")
    return int(rest[:3])


def _length(fields: Sequence[str]) -> int | None:
    for field in fields:
        name, _, value = field.partition(":")
        if name.strip().lower() == "content-length" and value.strip().isdecimal():
            return int(value)
    return None


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > _LINE:
            raise BadAnswerError(f"vmd sent a line of more than {_LINE >> 20} MiB")
    if rest.strip():
        raise _cut_short()


def decoded(text: bytes) -> Json:
    """Read a body, or one line of a stream.

    :raise BadAnswerError: if it is no JSON object.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadAnswerError("vmd's answer is not JSON", "are vmctl and vmd of one version? vmctl version") from error
    if not isinstance(found, dict):
        raise BadAnswerError("vmd's answer is not a JSON object", "are vmctl and vmd of one version? vmctl version")
    return found


def _refusal(answer: Answer) -> VmdError:
    answer.connection.settimeout(PATIENCE)
    try:
        body = decoded(answer.whole())
        return DaemonError(str(body["error"]), str(body.get("hint") or ""), int(body.get("exit_code") or 1))
    except (BadAnswerError, KeyError, TypeError, ValueError):
        return BadAnswerError(f"vmd answered with status {answer.status} and no reason")


def _cut_short() -> BadAnswerError:
    return BadAnswerError("vmd hung up in the middle of its answer", "is it still there? vmctl version")
