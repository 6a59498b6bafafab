"""Every error vmd raises on purpose.

The tree::

    VmdError                 message, hint; exit code 1
    ├── UsageError           the call's words are off; exit code 2
    │   └── NotServed        the control API has no such thing
    ├── DefinitionError      what the operator wrote is not valid; carries every fault; exit code 2
    ├── NoSuchGuest          exit code 3
    ├── NoDaemon             nobody listens on the control socket; exit code 4
    ├── TimedOut             exit code 5
    ├── Refused              vmd could, but will not: it would cost data, or was forbidden
    │   └── Forbidden        who asks may not
    ├── CommandFailed        a program we ran failed; carries argv, exit status and what it said
    ├── QemuFailed           QEMU ended before it answered, or refused a command
    └── InstallFailed        the unattended install did not succeed; carries the transcript's path
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


class VmdError(Exception):
    """Something an operator can understand: what is wrong, and what to do about it.

    ``message`` says what is wrong and where; ``hint`` says what to do, or is empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(VmdError):
    """The words of a command or a request are not ones vmd knows."""

    exit_code = 2


class NotServed(UsageError):
    """The control API has no such path (``status`` 404), or the path takes only the methods ``allow`` (405)."""

    def __init__(self, message: str, status: int, allow: Sequence[str] = ()) -> None:
        super().__init__(message, f"it takes {', '.join(allow)}" if allow else "GET /v1/openapi.json has all")
        self.status = status
        self.allow = tuple(allow)


class DefinitionError(VmdError):
    """What the operator wrote is not a valid fleet; ``faults`` holds one line for each thing wrong."""

    exit_code = 2

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class NoSuchGuest(VmdError):
    """The fleet defines no guest of that name, and none runs under it."""

    exit_code = 3


class NoDaemon(VmdError):
    """Nobody listens on the control socket."""

    exit_code = 4


class TimedOut(VmdError):
    """What was waited for did not come in time."""

    exit_code = 5


class Refused(VmdError):
    """vmd could do it and will not: it would cost data, or the definition forbids it."""


class Forbidden(Refused):
    """Who asks has no right to it."""


class CommandFailed(VmdError):
    """A program that vmd ran failed.

    A negative ``status`` is the number of the signal that ended it (as in :mod:`subprocess`); 127 means that
    there is no such program.
    """

    def __init__(self, argv: Sequence[str], status: int, output: str, hint: str = "") -> None:
        super().__init__(f"{describe_status(argv[0], status)}: {shlex.join(argv)}\n{output.strip()}".rstrip(), hint)
        self.argv = tuple(argv)
        self.status = status
        self.output = output


class QemuFailed(VmdError):
    """QEMU ended before it answered, or refused a command."""


class InstallFailed(VmdError):
    """The unattended install did not succeed; ``transcript`` is the file that holds what the guest said."""

    def __init__(self, message: str, hint: str = "", transcript: str = "") -> None:
        super().__init__(message, hint)
        self.transcript = transcript


def describe_status(program: str, status: int) -> str:
    """Say in words how a program ended: by signal, not found, or with an exit status."""
    if status < 0:
        return f"{program} was killed by signal {-status}"
    if status == 127:
        return f"{program} was not found"
    return f"{program} failed with exit status {status}"
