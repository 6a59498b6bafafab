"""The control socket: HTTP/1.1 over a unix socket, every request bounded in size and time.

The protocol itself is h11's; this file moves bytes, knows who asks (``SO_PEERCRED``), and hands each request to one
handler. It knows nothing of guests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from ..errors import Forbidden, NotServed, UsageError, VmdError
from .crowd import Crowd, Crowded
from .peer import Peer, peer

log = logging.getLogger(__name__)

MAX_HEAD = 16 * 1024
MAX_BODY = 1 << 20
REQUEST_TIME = 10.0
"""How long a client may take to say what it wants, in seconds."""

WRITE_TIME = 60.0
"""How long a client may leave an answer unread, in seconds."""

HEAR_OUT_TIME = 2.0
"""How long a client that is refused may go on talking, in seconds."""


@dataclass(frozen=True)
class Request:
    """One request; ``body`` is the JSON object it carried, or empty."""

    method: str
    path: tuple[str, ...]
    query: dict[str, list[str]]
    body: dict[str, Any]
    peer: Peer
    upgrade: bool = False
    authorization: str = ""


@dataclass(frozen=True)
class Answer:
    """One answer: a JSON body, raw ``content``, a ``stream``, or a conversation after an ``upgrade``."""

    body: object = None
    status: int = 200
    content: bytes | None = None
    content_type: str = "application/json"
    stream: AsyncIterator[bytes] | None = None
    upgrade: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    headers: tuple[tuple[str, str], ...] = field(default=())


Handler = Callable[[Request], Awaitable[Answer]]

STATUS = {2: 400, 3: 404, 5: 504}
"""Exit status of an error → HTTP status; anything else is 409: vmd understood, and could not or would not."""


def refusal(error: VmdError) -> Answer:
    """The answer that carries an error."""
    body = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
    allow = tuple(("allow", method) for method in error.allow) if isinstance(error, NotServed) else ()
    return Answer(body, status=_status(error), headers=allow)


def _status(error: VmdError) -> int:
    match error:
        case NotServed():
            return error.status
        case Forbidden():
            return 403
        case Crowded():
            return 503
    return STATUS.get(error.exit_code, 409)


async def listen(
    path: Path, handler: Handler, mode: int = 0o600, gid: int = -1, handed: socket.socket | None = None
) -> asyncio.Server:
    """Serve ``handler`` on a new socket at ``path``, or on the one that the service manager ``handed`` us.

    A socket that a dead daemon left is replaced; that no living one has it is for the caller to know (its lock).
    """
    listener = handed or _listener(path)
    grant(path, mode, gid)
    # not start_unix_server, which takes the socket's file away with it (Python 3.13): a handed one is not ours
    return await asyncio.start_server(_server(handler), sock=listener, backlog=1024)


async def listen_tcp(host: str, port: int, handler: Handler) -> asyncio.Server:
    """Serve ``handler`` at an address; nothing is known of who asks.

    :raise OSError: the address can't be had.
    """
    return await asyncio.start_server(_server(handler), host, port)


def _server(handler: Handler) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    crowd = Crowd()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(reader, writer, handler, crowd).serve()

    return serve


def _listener(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    return listener


def grant(path: Path, mode: int, gid: int) -> None:
    """Say who may connect to the socket; it is closed to everybody in between."""
    with suppress(FileNotFoundError):
        path.chmod(0o600)
        os.chown(path, -1, gid)
        path.chmod(mode)


class _Connection:
    """One client, one request."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler, crowd: Crowd
    ) -> None:
        self.reader, self.writer, self.handler, self.crowd = reader, writer, handler, crowd
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self.heard = False

    async def serve(self) -> None:
        try:
            with ExitStack() as stay:
                await self._answer(await self._handled(stay))
            if not self.heard:
                await self._hear_out()
        except (ConnectionError, TimeoutError, h11.LocalProtocolError):
            self.writer.transport.abort()  # the client went away, or never read: nobody is left to tell
        except Exception:
            log.exception("an answer failed in a way vmd did not foresee")
            self.writer.transport.abort()
        finally:
            await self._close()

    async def _close(self) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(WRITE_TIME):
                await self.writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self.writer.transport.abort()

    async def _hear_out(self) -> None:
        """Let who is refused in mid-sentence end it: to hang up on unread bytes would take the answer back."""
        self.writer.write_eof()
        async with asyncio.timeout(HEAR_OUT_TIME):
            while await self.reader.read(65536):
                pass

    async def _handled(self, stay: ExitStack) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_TIME):
                with self.crowd.waiting(self.writer.transport.abort):
                    request = await self._request()
            self.heard = True
            answer = await self.handler(request)
            if answer.stream is not None or answer.upgrade is not None:
                stay.enter_context(self.crowd.staying(request.peer.uid))
            return answer  # noqa: TRY300 - what is raised before is what is told
        except h11.RemoteProtocolError as error:
            body = {"error": f"not a request: {error}", "hint": "", "exit_code": 2}
            return Answer(body, status=error.error_status_hint)
        except VmdError as error:
            return refusal(error)
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("a request failed in a way vmd did not foresee")
            return Answer(
                {"error": "internal error; the daemon's log has it", "hint": "", "exit_code": 1}, status=500
            )

    async def _request(self) -> Request:
        head = await self._event()
        if not isinstance(head, h11.Request):
            raise ConnectionResetError("closed before it asked")
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
        path, query = _target(head.target.decode("ascii", "replace"))
        return Request(
            method=head.method.decode("ascii"),
            path=path,
            query=query,
            body=_json_object(bytes(body)),
            peer=peer(self.writer.get_extra_info("socket")),
            upgrade=any(name == b"upgrade" for name, _ in head.headers),
            authorization=next(
                (value.decode("latin-1") for name, value in head.headers if name == b"authorization"), ""
            ),
        )

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(65536))
        return event  # type: ignore[return-value]  # NEED_DATA is the only other sentinel, and is excluded

    async def _answer(self, answer: Answer) -> None:
        if answer.upgrade is not None:
            await self._send(h11.InformationalResponse(status_code=101, headers=[("upgrade", "vmd-console")]))
            await answer.upgrade(self.reader, self.writer)
        elif answer.stream is not None:
            await self._send(self._head(answer, ()))
            await self._stream(answer.stream)
        else:
            content = json.dumps(answer.body).encode() if answer.content is None else answer.content
            await self._send(self._head(answer, (("content-length", str(len(content))),)))
            await self._send(h11.Data(data=content))
            await self._send(h11.EndOfMessage())

    def _head(self, answer: Answer, more: tuple[tuple[str, str], ...]) -> h11.Response:
        headers = [("content-type", answer.content_type), ("connection", "close"), *more, *answer.headers]
        return h11.Response(status_code=answer.status, headers=headers)

    async def _stream(self, stream: AsyncIterator[bytes]) -> None:
        """Send what comes until it ends or the client goes; a client that goes ends only the telling."""
        gone = asyncio.create_task(self.reader.read(1))
        async with aclosing(stream) as chunks:  # type: ignore[type-var]  # every stream here is a generator
            try:
                while (chunk := await _next_or_gone(chunks, gone)) is not None:
                    await self._send(h11.Data(data=chunk))
                if not gone.done():
                    await self._send(h11.EndOfMessage())
            finally:
                gone.cancel()

    async def _send(self, event: h11.Event) -> None:
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            async with asyncio.timeout(WRITE_TIME):
                await self.writer.drain()


async def _next_or_gone(chunks: AsyncIterator[bytes], gone: asyncio.Task[bytes]) -> bytes | None:
    """The next chunk, or None at the end or when the client is gone."""
    following = asyncio.ensure_future(anext(chunks, None))
    try:
        await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
        return following.result() if following.done() else None
    finally:
        if not following.done():
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


def _target(target: str) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    try:
        split = urlsplit(target)
        query = parse_qs(split.query, max_num_fields=1000)
    except ValueError as error:
        raise UsageError(f"the request's target makes no sense: {error}") from None
    return tuple(unquote(part) for part in split.path.strip("/").split("/")), query


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("the body is not JSON") from None
    if not isinstance(value, dict):
        raise UsageError("the body is not a JSON object")
    return value
