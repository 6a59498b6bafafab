"""What an unattended installer says on the serial console, and what each line of it means.

Any installer ISO works with vmd if it keeps to this, in plain text on the first serial port::

    INSTALL_PROGRESS 3/10 copying       n of m and a phrase: moves the progress bar
    SSH_HOST_KEY ssh-ed25519 AAAA…      a public host key of the guest that is being made
    INSTALL_SUCCESSFUL                  and then it powers off
    INSTALL_FAILED: the reason          and then it powers off

Host keys are also taken from the block that cloud-init prints at the first boot of an image.

A marker may stand anywhere in a line, because it comes through service managers, loggers and the kernel's ring
buffer (``[   12.3] install[412]: INSTALL_SUCCESSFUL``). It has to be a word of its own, and the line must not be an
echo of somebody's instructions: a kernel command line, or a shell that traces what it runs or is told to ``echo``.
So ``success=INSTALL_SUCCESSFUL``, ``"INSTALL_SUCCESSFUL"`` and ``+ echo INSTALL_SUCCESSFUL`` mean nothing.

Pure: bytes in, messages out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LINE_LIMIT = 8192
"""Bytes of one line that are looked at; the longest honest one, an RSA host key of 16384 bits, has 2800."""

_ESCAPES = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    rb"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, systemd's context marks
    rb"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    rb"|\x1b[ -/]*[0-~]"  # two-character sequences
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_LINE_END = re.compile(rb"[\r\n]")

_ECHO = re.compile(
    r"command line:"  # "Command line: …", "Kernel command line: …", "Unknown kernel command line parameters"
    r"|\bkernel command line\b|\bBOOT_IMAGE="
    r"|^\s*\++ "  # sh -x
    r"|(?:^|[\s;&|(])(?:echo|printf)\s",
    re.IGNORECASE,
)
_PROGRESS = re.compile(r"(?:^|\s)INSTALL_PROGRESS\s+(\d{1,9})/(\d{1,9})(?:\s+(.*))?$")
_FAILED = re.compile(r"(?:^|\s)INSTALL_FAILED(?::\s*(.*)|\s*)$")
_KEY_TYPE = r"(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-sha2-)[a-z0-9@.-]+"
_KEY = rf"({_KEY_TYPE})\s+(AAAA[A-Za-z0-9+/]+={{0,2}})(?:\s|$)"
_HOST_KEY = re.compile(rf"(?:^|\s)SSH_HOST_KEY\s+{_KEY}")
_BLOCK_KEY = re.compile(rf"(?:^|\s){_KEY}")
_BLOCK_BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
_BLOCK_END = "-----END SSH HOST KEY KEYS-----"


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` steps are behind the installer, which is now busy with ``text``."""

    done: int
    total: int
    text: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The installer says that the guest is complete. It counts once the installer has powered off as well."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The installer gave up; ``reason`` is in its own words, and may be empty."""

    reason: str


@dataclass(frozen=True, slots=True)
class HostKey:
    """One public host key of the guest: ``type`` and ``key`` as they stand in a ``known_hosts`` file."""

    type: str
    key: str


Message = Progress | Succeeded | Failed | HostKey


class Transcript:
    """Read what a serial console says, in pieces of any size.

    ``success`` is the word or phrase by which this installer says that it succeeded.
    """

    def __init__(self, success: str = "INSTALL_SUCCESSFUL") -> None:
        self._success = re.compile(rf"(?:^|\s){re.escape(success)}(?=\s|$)")
        self._partial = b""
        self._overlong = False
        self._in_block = False
        self._last_line = ""

    @property
    def last_line(self) -> str:
        """The last line that is not blank, without escape sequences, whether it has ended or not."""
        return _text(self._partial) or self._last_line

    def feed(self, data: bytes) -> tuple[Message, ...]:
        """Take the next bytes, and return what the lines which they complete mean."""
        *complete, rest = _LINE_END.split(data)
        messages: list[Message] = []
        for piece in complete:
            self._extend(piece)
            messages += self._end_line()
        self._extend(rest)
        return tuple(messages)

    def finish(self) -> tuple[Message, ...]:
        """Say that no more will come: what stands on a line that never ended counts as well."""
        return tuple(self._end_line())

    def _extend(self, piece: bytes) -> None:
        room = LINE_LIMIT - len(self._partial)
        self._overlong = self._overlong or len(piece) > room
        self._partial += piece[:room]

    def _end_line(self) -> list[Message]:
        line = _text(self._partial) + ("…" if self._overlong else "")  # so that no key looks whole which is not
        self._partial, self._overlong = b"", False
        self._last_line = line or self._last_line
        return self._meaning(line)

    def _meaning(self, line: str) -> list[Message]:
        if key := self._block_key(line):
            return [key]
        if match := _search(_PROGRESS, line):
            return _progress(int(match[1]), int(match[2]), match[3] or "")
        if match := _search(_FAILED, line):
            return [Failed((match[1] or "").strip())]
        if match := _search(_HOST_KEY, line):
            return [HostKey(match[1], match[2])]
        return [Succeeded()] if _search(self._success, line) else []

    def _block_key(self, line: str) -> HostKey | None:
        self._in_block = (self._in_block or _BLOCK_BEGIN in line) and _BLOCK_END not in line
        match = _BLOCK_KEY.search(line) if self._in_block else None
        return HostKey(match[1], match[2]) if match else None


def _search(marker: re.Pattern[str], line: str) -> re.Match[str] | None:
    """Find a marker that is not merely quoted: what matters is what stands before it."""
    match = marker.search(line)
    return None if match is None or _ECHO.search(line[: match.start()] + " ") else match


def _progress(done: int, total: int, text: str) -> list[Message]:
    return [Progress(done, total, text.strip())] if total > 0 and done <= total else []


def _text(line: bytes) -> str:
    plain = _ESCAPES.sub(b"", line).decode("utf-8", errors="replace")
    return _CONTROLS.sub("", plain).strip()
