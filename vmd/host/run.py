"""One program, run to its end: no shell, no terminal, nothing left behind.

The one place in vmd where a program that is not QEMU's long life is started.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from vmd.errors import CommandFailed, TimedOut
from vmd.host.credentials import Credentials

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes a program may say on each of stdout and stderr. The most talkative answer vmd wants, QEMU's whole QMP
schema, has 0.3 MB (QEMU 7.2 and 10.0)."""


async def run(  # noqa: PLR0913 - the keywords of a call, each with its own default
    argv: Sequence[str],
    *,
    timeout: float,  # noqa: ASYNC109 - a bare asyncio.timeout could neither kill the group nor quote the command
    input: bytes = b"",  # noqa: A002 - subprocess's own word
    goodbye: tuple[int, bytes] | None = None,
    accept: Container[int] = (0,),
    env: Mapping[str, str] | None = None,
    user: Credentials | None = None,
) -> str:
    """Run a program to its end and return what it wrote to stdout, bytes that are not UTF-8 replaced.

    ``timeout`` is in seconds. ``goodbye`` is for programs that drop what they have not said yet when they are told to
    end: stdin stays open, and these last words are said once so many lines have come. ``accept`` has the exit
    statuses that are no failure. ``env`` is added to vmd's own environment, in which LC_ALL is C so that messages can
    be understood. The program leads a session of its own, so it has no terminal to ask at, and it and its children
    are killed together on timeout and on cancellation.

    :raise CommandFailed: it failed (``output`` is stderr, then stdout), is not there (127), may not be
        run (126), or said more than :data:`OUTPUT_LIMIT`.
    :raise TimedOut: it did not end in time.
    """
    async with _started(argv, env, user) as (transport, program):
        program.feed(transport, input, goodbye)
        try:
            async with asyncio.timeout(timeout):
                await program.ended.wait()
        except TimeoutError:
            message = f"{argv[0]} did not end within {timeout:g} s: {shlex.join(argv)}\n{program.words()}"
            raise TimedOut(message.rstrip()) from None
    status = cast(int, transport.get_returncode())
    if program.too_much:
        raise CommandFailed(argv, status, program.words(2000), f"it said more than {OUTPUT_LIMIT} bytes")
    if status not in accept:
        raise CommandFailed(argv, status, program.words())
    return program.said[1].decode(errors="replace")


@asynccontextmanager
async def _started(
    argv: Sequence[str], env: Mapping[str, str] | None, user: Credentials | None
) -> AsyncIterator[tuple[asyncio.SubprocessTransport, _Program]]:
    """Have a program run, and all of its family gone afterwards.

    Who is cancelled while it is being started waits until it is: half started, it could be killed, and not its
    children.
    """
    starting = asyncio.ensure_future(_start(argv, env, user))
    try:
        yield await asyncio.shield(starting)
    finally:
        if not (starting.done() and starting.exception()):
            transport, program = await starting
            _kill_group(transport, program)
            transport.close()
            await program.ended.wait()


async def _start(
    argv: Sequence[str], env: Mapping[str, str] | None, user: Credentials | None
) -> tuple[asyncio.SubprocessTransport, _Program]:
    identity: dict[str, Any] = {}
    if user:
        identity = {"user": user.uid, "group": user.gid, "extra_groups": user.groups}
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}
    loop = asyncio.get_running_loop()
    try:
        return await loop.subprocess_exec(_Program, *argv, env=environment, start_new_session=True, **identity)
    except FileNotFoundError as error:
        raise CommandFailed(argv, 127, str(error)) from error
    except OSError as error:
        # A directory of PATH that may not be searched gives "permission denied" for what is nowhere at all.
        if "/" not in argv[0] and shutil.which(argv[0], path=environment.get("PATH")) is None:
            raise CommandFailed(argv, 127, "") from error
        raise CommandFailed(argv, 126, f"cannot be run: {error}") from error


class _Program(asyncio.SubprocessProtocol):
    """Gathers what a program says; ``ended`` is set once it has ended and its pipes are closed."""

    def __init__(self) -> None:
        self.said = {1: bytearray(), 2: bytearray()}
        self.ended = asyncio.Event()
        self.too_much = False
        self._goodbye: tuple[int, bytes] | None = None
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def feed(self, transport: asyncio.SubprocessTransport, data: bytes, goodbye: tuple[int, bytes] | None) -> None:
        stdin = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
        stdin.write(data)
        self._goodbye = goodbye
        if goodbye is None:
            stdin.close()
        else:
            self._say_goodbye()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = OUTPUT_LIMIT - len(self.said[fd])
        self.said[fd] += data[:room]
        if len(data) > room and not self.too_much and self._transport:
            self.too_much = True
            _kill_group(self._transport, self)
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        if self._goodbye and self._transport and self.said[1].count(b"\n") >= self._goodbye[0]:
            cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0)).write(self._goodbye[1])
            self._goodbye = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def words(self, limit: int = 20_000) -> str:
        """Quote the program for a message, stderr first."""
        return (self.said[2] + self.said[1])[:limit].decode(errors="replace")


def _kill_group(transport: asyncio.SubprocessTransport, program: _Program) -> None:
    """Kill the program and its children, unless all have ended: the number may be another's by now."""
    if not program.ended.is_set():
        try:
            os.killpg(transport.get_pid(), signal.SIGKILL)
        except ProcessLookupError:
            return  # it ended between our look and our kill
