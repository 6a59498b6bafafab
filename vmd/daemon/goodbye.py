"""How a guest without a power button is told to go: by ssh, or at a root shell on its serial console."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from ..errors import VmdError
from ..host import ssh
from ..host.console import Attachment
from .running import Running

SSH_ANSWERS = 15.0
"""How long a login and the command may take, in seconds: a small board's first key exchange takes some."""

PROMPT_COMES = 3.0
"""How long a shell may take to answer an empty line with its prompt, in seconds."""

POWEROFF = b"poweroff; [ $$ != 1 ] || poweroff -f\n"
"""A shell that is itself the first process (``init=/bin/sh``) has no init to tell: it does it without."""

GOODBYES = (b"reboot: Power down", b"reboot: System halted")
"""Linux' last words; where a board has no way to turn itself off, nothing comes after them."""

_ESCAPE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")


async def by_ssh(running: Running, user: str, identities: tuple[Path, ...]) -> bool:
    """Say poweroff by ssh; whether it was heard. Only a guest whose host key is known is talked to."""
    known = Path(running.places.known_hosts)
    if not (running.ssh_port and running.readiness.has("ssh") and known.exists()):
        return False
    target = ssh.Target("127.0.0.1", running.ssh_port, known, running.name, user)
    try:
        await ssh.command(target, ("poweroff",), identities, timeout=SSH_ANSWERS)
    except VmdError:
        return False
    return True


async def by_serial(running: Running, gone: Callable[[float], Awaitable[bool]], left: Callable[[], float]) -> None:
    """Type poweroff where a root shell's prompt is, and see that it goes; ``left`` says for how long."""
    with suppress(VmdError), running.console.attach(tail=0) as heard:
        await running.console.write(b"\n")
        if not await _heard(heard, lambda said: said.endswith((b"# ", b"#")), min(PROMPT_COMES, left())):
            return
        await running.console.write(POWEROFF)
        halted = asyncio.create_task(_heard(heard, lambda said: any(word in said for word in GOODBYES), left()))
        ended = asyncio.ensure_future(gone(left()))
        await asyncio.wait({halted, ended}, return_when=asyncio.FIRST_COMPLETED)
        halted.cancel()
        ended.cancel()
        # a board that can turn itself off does so at once after its last words
        await gone(min(2.0, left()))


async def _heard(heard: Attachment, enough: Callable[[bytes], bool], patience: float) -> bool:
    """Listen until what was said since is enough; whether it was in time."""
    said = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            async for data in heard:
                said = _ESCAPE.sub(b"", said + data)
                if enough(said.rstrip(b"\r\n") if said.strip() else said):
                    return True
    return False
