"""Run one program to its end, and quote it whole when it fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from vmd.errors import CommandFailed

SEARCH_PATH = ":".join(
    dict.fromkeys([*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
)
"""Where programs are looked for: an ordinary user's PATH lacks the directories of mke2fs and sfdisk."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for programs whose words we read and whose results must not depend on the caller's locale."""
    return {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(extra or {})}


def run(*argv: str | Path, stdin: str = "", cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run ``argv``, give it ``stdin``, and return what it wrote on its standard output.

    :raise CommandFailed: when it doesn't exist or ends with a status other than 0.
    """
    words = tuple(map(str, argv))
    try:
        done = subprocess.run(
            words,
            input=stdin,
            cwd=cwd,
            env=environment(env),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandFailed(words, 127, str(error)) from error
    if done.returncode != 0:
        raise CommandFailed(words, done.returncode, done.stderr + done.stdout)
    return done.stdout
