"""Metrics on a TCP address, for a Prometheus elsewhere: all that vmd says over the network, to who has the token."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..errors import Forbidden, NotServed, UsageError, VmdError
from .exposition import CONTENT_TYPE
from .serve import Answer, Request, listen_tcp

SHORTEST = 16
"""Characters a token must have: one that can be guessed is none."""


async def serve_metrics(address: str, token: Path, tell: Callable[[], Awaitable[str]]) -> asyncio.Server:
    """Answer ``GET /metrics`` at ``ADDRESS:PORT`` to requests with ``Authorization: Bearer TOKEN``.

    :raise UsageError: the address is none, or the token can't be used.
    :raise VmdError: the address can't be had.
    """
    host, port = parse_address(address)
    expected = f"Bearer {read_token(token)}".encode()

    async def answer(request: Request) -> Answer:
        if not hmac.compare_digest(request.authorization.encode(), expected):
            raise Forbidden("this token is not the one of --metrics-token")
        if request.path != ("metrics",) or request.method != "GET":
            raise NotServed("there is nothing here but GET /metrics", 404)
        return Answer(content=(await tell()).encode(), content_type=CONTENT_TYPE)

    try:
        return await listen_tcp(host, port, answer)
    except OSError as error:
        raise VmdError(
            f"--metrics {address}: {error.strerror}", "name an address of this host, and a free port"
        ) from error


def parse_address(text: str) -> tuple[str, int]:
    """Read ``127.0.0.1:9478`` or ``[::1]:9478``.

    :raise UsageError: it is neither.
    """
    host, _, port = text.rpartition(":")
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if 0 <= int(port) < 65536:
            return host.removeprefix("[").removesuffix("]"), int(port)
    except ValueError:
        pass
    raise UsageError(f"{text!r} is no address to listen on", "write 127.0.0.1:9478 or [::1]:9478")


def read_token(path: Path) -> str:
    """Read the token, which is all of the file but white space at its ends.

    :raise UsageError: it can't be read, others may read it, or it is short.
    """
    try:
        with path.open() as file:
            mode, token = path.stat().st_mode, file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token can't be read: {error}", "head -c 32 /dev/urandom | base64 makes one") from error
    if mode & 0o007:
        raise UsageError(f"everybody may read the token in {path}", f"chmod 640 {path}")
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable():
        raise UsageError(f"{path} holds no token", f"write {SHORTEST} printable characters or more into it")
    return token
