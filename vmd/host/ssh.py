"""The ssh client's programs, and what answers at an ssh port.

A guest's host key is learnt from its installer, never from the network: what can't be verified is not trusted.
"""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from vmd.errors import CommandFailed, Refused, TimedOut, VmdError
from vmd.host.run import run

BANNER_LIMIT = 8192
"""Bytes read in search of the banner: a server may say other lines first (RFC 4253, 4.2)."""


class Answer(StrEnum):
    """What became of a knock at a port."""

    SSH = "ssh"
    """An ssh server said its banner."""
    OTHER = "other"
    """Something answered that is no ssh server."""
    CLOSED = "closed"
    """It was accepted and hung up on: somebody passes the port on, and nobody is behind it yet."""
    SILENT = "silent"
    """It was accepted, and nothing was said in time. User networking does so while the guest still boots."""
    REFUSED = "refused"
    """A machine has the address, and nobody listens there."""
    UNREACHABLE = "unreachable"
    """Nothing answered at all."""


class Banner(NamedTuple):
    """``text`` is the banner without its line end, ``SSH-2.0-…``, or "" where there is none."""

    answer: Answer
    text: str = ""


class Verdict(StrEnum):
    """What a key exchange showed."""

    VERIFIED = "verified"
    """The server holds the private half of a key we know under the guest's name."""
    WRONG_KEY = "wrong key"
    """It holds another key."""
    UNKNOWN_KEY = "unknown key"
    """No key is known under that name."""
    NO_ANSWER = "no answer"
    """There was no key exchange."""


class Verification(NamedTuple):
    """A verdict, and ssh's last words about it."""

    verdict: Verdict
    message: str


async def generate_key(path: Path, *, comment: str = "vmd") -> str:
    """Make an Ed25519 key without a passphrase at ``path`` (0600) and ``path.pub``; return the public line.

    :raise Refused: one of the two is there already.
    :raise CommandFailed: ssh-keygen failed, or is not installed.
    """
    public = path.with_name(path.name + ".pub")
    for each in (path, public):
        if os.path.lexists(each):
            raise Refused(f"{each} exists already, and would be overwritten")
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path.absolute()))
    await _openssh(argv, 30)
    path.chmod(0o600)
    return public.read_text().strip()


def known_hosts_line(alias: str, key_type: str, key: str) -> str:
    """Say in a known_hosts file's words, line end included, that ``alias`` (HostKeyAlias) has this host key.

    :raise VmdError: a word holds what would make it another line or pattern.
    """
    for word in (alias, key_type, key):
        if not word or not word.isascii() or any(c.isspace() or c in ',*?!|#@"' for c in word):
            raise VmdError(f"{word!r} can't stand in a known_hosts file")
    return f"{alias} {key_type} {key}\n"


async def banner(host: str, port: int, timeout: float) -> Banner:  # noqa: ASYNC109 - it is an answer, not a fault
    """Knock at a port, wait ``timeout`` seconds for an ssh banner, and say what happened."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Banner(Answer.UNREACHABLE)
    except ConnectionRefusedError:
        return Banner(Answer.REFUSED)
    except OSError:
        return Banner(Answer.UNREACHABLE)
    try:
        async with asyncio.timeout(timeout):
            return await _read_banner(reader)
    except TimeoutError:
        return Banner(Answer.SILENT)
    except ConnectionError:
        return Banner(Answer.CLOSED)
    finally:
        writer.transport.abort()


async def _read_banner(reader: asyncio.StreamReader) -> Banner:
    said = bytearray()
    while len(said) < BANNER_LIMIT:
        some = await reader.read(BANNER_LIMIT)
        if not some:
            break
        said += some
        for line in said.split(b"\n")[:-1]:
            if line.startswith(b"SSH-"):
                return Banner(Answer.SSH, line.strip().decode(errors="replace"))
    return Banner(Answer.OTHER if said else Answer.CLOSED)


async def verify(
    host: str,
    port: int,
    known_hosts: Path,
    alias: str,
    timeout: float,  # noqa: ASYNC109 - run's own
) -> Verification:
    """Exchange keys with a server, offer no way to log in, and say whether its host key is the guest's.

    The operator's own configuration, agent and known hosts play no part. ``timeout`` is in seconds.

    :raise CommandFailed: there is no ssh program.
    """
    # No method to log in is offered: the server's "Permission denied" comes only after its key was accepted.
    options = {
        "BatchMode": "yes",
        "CheckHostIP": "no",
        "ConnectTimeout": f"{max(1, round(timeout))}",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": alias,
        "IdentityAgent": "none",
        "IdentityFile": "none",
        "PreferredAuthentications": "none",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": quoted(known_hosts),
    }
    words = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
    argv = ("ssh", "-F", "none", "-T", *words, "-p", str(port), "-l", "vmd", "--", host, "true")
    try:
        await _openssh(argv, timeout)
    except TimedOut:
        return Verification(Verdict.NO_ANSWER, f"no key exchange within {timeout:g} s")
    except CommandFailed as error:
        if error.status == 127:
            raise
        return _judge(error.output)
    return Verification(Verdict.VERIFIED, "it let anyone in")


class Target(NamedTuple):
    """A guest's ssh: where it listens, the file with its host key, its name in there, and as whom to log in."""

    host: str
    port: int
    known_hosts: Path
    alias: str
    user: str


async def command(
    target: Target,
    words: tuple[str, ...],
    identities: tuple[Path, ...],
    timeout: float,  # noqa: ASYNC109 - run's own
) -> str:
    """Run a command in a guest, and return what it said; nobody is asked for anything. ``timeout`` is in seconds.

    :raise CommandFailed: nobody was let in, the guest's host key is another one, or the command failed.
    :raise TimedOut: it took longer.
    """
    options = {
        "BatchMode": "yes",
        "CheckHostIP": "no",
        "ConnectTimeout": f"{max(1, round(timeout))}",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": target.alias,
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": quoted(target.known_hosts),
    }
    said = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
    keys = [word for path in identities for word in ("-o", f"IdentityFile={quoted(path)}")]
    where = ("-p", str(target.port), "-l", target.user, "--", target.host)
    return await _openssh(("ssh", "-F", "none", "-T", *said, *keys, *where, *words), timeout)


def quoted(path: Path) -> str:
    """Write a path as an ssh option takes it: several may stand there, and ``%`` and ``${`` mean something.

    :raise VmdError: it holds what ssh (9.2, 10.0) has no quoting for.
    """
    text = str(path.absolute())
    if any(c in text for c in '"\n') or "${" in text:
        raise VmdError(f"ssh can't be told of a file of this name: {text!r}", "choose another directory")
    return '"' + text.replace("\\", "\\\\").replace("%", "%%") + '"'


def _judge(words: str) -> Verification:
    last = words.strip().splitlines()[-1].strip() if words.strip() else "ssh said nothing"
    if "Permission denied" in words:
        return Verification(Verdict.VERIFIED, last)
    if "IDENTIFICATION HAS CHANGED" in words:
        return Verification(Verdict.WRONG_KEY, "the server has another host key than the guest")
    if "host key is known for" in words:
        return Verification(Verdict.UNKNOWN_KEY, "no host key is known for the guest")
    return Verification(Verdict.NO_ANSWER, last)


async def _openssh(argv: tuple[str, ...], limit: float) -> str:
    try:
        return await run(argv, timeout=limit)
    except CommandFailed as error:
        hint = "install it: apt install openssh-client" if error.status == 127 else ""
        raise CommandFailed(error.argv, error.status, error.output, hint) from error
