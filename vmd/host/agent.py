"""Ask the guest agent, qemu-ga, inside one guest.

It listens on a virtio serial port: ``-chardev socket,id=qga0,path=…,server=on,wait=off -device virtio-serial
-device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0``. QEMU accepts whether or not an agent runs.

Why not qemu.qmp's QMPClient, with its ``await_greeting`` and ``negotiate`` off: it can't send or read the 0xFF that
marks where an agent's answers begin anew (``guest-sync-delimited``), so a leftover of an earlier question would be
taken for an answer. No other kept-up client was found. What answers is the guest, which may say anything: all is
bounded.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any, Final

from vmd.errors import QemuFailed, TimedOut
from vmd.host.dial import dial

LONGEST_ANSWER: Final = 4 << 20
"""Bytes; an answer is one line."""

SILENCE: Final = 0.5
"""Seconds after which a command that succeeds without a word has succeeded."""

DELIMITER: Final = b"\xff"


async def ask(
    path: Path,
    command: str,
    /,
    *,
    timeout: float = 2.0,  # noqa: ASYNC109 - the message says who did not answer
    answers: bool = True,
    **arguments: Any,
) -> Any:
    """Have the agent behind ``path`` execute one command and return its answer.

    ``timeout`` is in seconds and for all of it. ``answers`` is False for those that succeed without a word, such
    as guest-shutdown. Raises TimedOut when no agent answers, QemuFailed when it refuses, hangs up or babbles.
    """
    try:
        async with asyncio.timeout(timeout):
            connection = await dial(path)
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LONGEST_ANSWER)
            try:
                return await _converse(reader, writer, command, arguments, answers)
            finally:
                writer.transport.abort()
    except TimeoutError:
        hint = "is qemu-guest-agent installed and started in the guest?"
        raise TimedOut(f"no guest agent answered {command} on {path} within {timeout:g} s", hint) from None
    except (OSError, EOFError, ValueError, RecursionError, asyncio.LimitOverrunError) as error:
        raise QemuFailed(f"the guest agent on {path} did not answer {command} properly: {error}") from error


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    command: str,
    arguments: dict[str, Any],
    answers: bool,
) -> Any:
    token = secrets.randbits(31)
    writer.write(DELIMITER + _line("guest-sync-delimited", {"id": token}))
    while True:
        await reader.readuntil(DELIMITER)  # what comes before was for somebody else
        if (await _answer(reader)).get("return") == token:
            break
    writer.write(_line(command, arguments))
    answer = await _answer(reader) if answers else await _complaint(reader)
    if "return" not in answer:
        error = answer.get("error")
        raise QemuFailed(f"the guest agent refused {command}: {_description(error)}")
    return answer["return"]


async def _complaint(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Silence is assent. To hang up at once instead could take the question away before QEMU has read it."""
    try:
        async with asyncio.timeout(SILENCE):
            return await _answer(reader)
    except (TimeoutError, EOFError, OSError):
        return {"return": None}


def _line(command: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"


async def _answer(reader: asyncio.StreamReader) -> dict[str, Any]:
    answer = json.loads(await reader.readuntil(b"\n"))
    if not isinstance(answer, dict):
        raise ValueError(f"{answer!r:.80} is no answer")  # noqa: TRY004 - of the same kind as JSON's own
    return answer


def _description(error: object) -> str:
    return str(error.get("desc", error))[:500] if isinstance(error, dict) else f"{error!r:.500}"
