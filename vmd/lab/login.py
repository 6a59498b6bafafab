"""The key that tests log in with: their own, made for one test run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

from ..errors import CommandFailed
from ..host import ssh
from ..host.run import run
from .shell import Result


class Login(NamedTuple):
    """A private key's file, and its public line."""

    private: Path
    public: str

    @classmethod
    async def make(cls, directory: Path) -> Self:
        """Make a key."""
        path = directory / "key"
        return cls(path, await ssh.generate_key(path, comment="vmd-lab"))

    async def command(
        self,
        user: str,
        port: int,
        words: tuple[str, ...],
        timeout: float,  # noqa: ASYNC109 - run's own
        data: bytes = b"",
    ) -> Result:
        """Run a command in a guest by ssh; what it says when it fails begins with its stderr.

        The host key is whatever the guest shows: between it and us is nobody but the QEMU that we started.

        :raise CommandFailed: nobody was let in.
        :raise TimedOut: it took longer than ``timeout`` seconds.
        """
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": f"{max(1, round(timeout))}",
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "IdentityFile": ssh.quoted(self.private),
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        said = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
        argv = ("ssh", "-F", "none", "-T", *said, "-p", str(port), "-l", user, "--", "127.0.0.1", *words)
        try:
            return Result(0, await run(argv, timeout=timeout, input=data))
        except CommandFailed as error:
            if error.status == 255:  # ssh's own
                raise
            return Result(error.status, error.output)
