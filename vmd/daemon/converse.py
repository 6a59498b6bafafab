"""A client at a guest's console: what it types goes in, what the guest says comes out."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..errors import UsageError, VmdError
from ..host.console import Attachment, Console
from .serve import Answer, Request
from .supervise import Supervisor

DEFAULT_TAIL = 16 * 1024
"""Bytes of what was said before that are shown first."""


def converse(kept: Supervisor, request: Request) -> Answer:
    """The answer that becomes a conversation.

    :raise VmdError: the guest doesn't run.
    """
    present = kept.present
    if present is None:
        raise VmdError(f"{kept.name} doesn't run, so it has no console", f"vmctl up {kept.name}")
    if not request.upgrade:
        raise UsageError("a console is a conversation", "ask for Upgrade: vmd-console")
    console, tail = present.console, _tail(request)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with console.attach(tail) as attachment:
            typing = asyncio.create_task(_type(reader, console))
            showing = asyncio.create_task(_show(attachment, writer))
            await asyncio.wait({typing, showing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (typing, showing):
                task.cancel()
                with suppress(asyncio.CancelledError, VmdError, ConnectionError, TimeoutError):
                    await task

    return Answer(upgrade=talk)


def _tail(request: Request) -> int:
    written = request.query.get("tail", [str(DEFAULT_TAIL)])[0]
    if not written.isdecimal() or len(written) > 9:
        raise UsageError(f"tail={written!r} is not a number of bytes")
    return int(written)


async def _type(reader: asyncio.StreamReader, console: Console) -> None:
    while data := await reader.read(4096):
        await console.write(data)


async def _show(attachment: Attachment, writer: asyncio.StreamWriter) -> None:
    async for data in attachment:
        writer.write(data)
        await writer.drain()
