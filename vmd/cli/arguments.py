"""Every verb and option of vmctl in one table: the parser is made from it, and so can a man page be."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..protocol import RUNGS


class Option(NamedTuple):
    """One word or flag of a verb: its spellings, its help, and what argparse is told about it."""

    spellings: tuple[str, ...]
    help: str
    settings: Mapping[str, Any] = {}
    completes: str = ""
    """What a shell may offer here: ``guest``, ``file``, ``rung``, ``release`` or nothing."""


class Verb(NamedTuple):
    """One verb: the file of this package that carries it out, what it says of itself, and its options."""

    name: str
    family: str
    help: str
    options: tuple[Option, ...] = ()
    details: str = ""


_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Read a duration as people write it: ``90``, ``90s``, ``2m``, ``1.5h``, ``1h30m``; in seconds.

    :raise argparse.ArgumentTypeError: if it is none, or not above zero.
    """
    total, number, unit = 0.0, "", ""
    for character in f"{text.strip().lower()} ":
        if unit and not character.isalpha():
            total, number, unit = total + _amount(text, number, unit), "", ""
        if character.isalpha():
            unit += character
        elif not character.isspace():
            number += character
    total += _amount(text, number, unit) if number else 0.0
    if not total:
        raise argparse.ArgumentTypeError(_no_duration(text))
    return total


def _amount(text: str, number: str, unit: str) -> float:
    if unit not in _UNITS or number.count(".") > 1 or not number.isascii() or not number.replace(".", "").isdecimal():
        raise argparse.ArgumentTypeError(_no_duration(text))
    return float(number) * _UNITS[unit]


def _no_duration(text: str) -> str:
    return f"{text!r} is no duration; write 90, 90s, 2m or 1h30m"


def moment(text: str) -> float:
    """Read a moment: so long ago (``2h``), a time of today (``14:30``) or one in ISO 8601; seconds since the epoch.

    :raise argparse.ArgumentTypeError: if it is none.
    """
    import time  # noqa: PLC0415 - only this needs them
    from datetime import datetime  # noqa: PLC0415

    try:
        return time.time() - seconds(text)
    except argparse.ArgumentTypeError:
        today = time.strftime("%Y-%m-%dT")
    for written in (text, f"{today}{text}"):
        try:
            return datetime.fromisoformat(written).timestamp()
        except (ValueError, OverflowError):
            continue
    raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2h, 14:30 or 2026-03-01T14:30")


def _guests(nargs: str, what: str) -> Option:
    return Option(("guests",), what, {"nargs": nargs, "metavar": "NAME"}, "guest")


def _flag(spelling: str, what: str, *more: str) -> Option:
    return Option((*more, spelling), what, {"action": "store_true"})


_GUEST = Option(("guest",), "the guest's name", {"metavar": "NAME"}, "guest")
_ALL = _flag("--all", "every guest of the fleet")
_SOME = _guests("*", "the guests' names")
_THESE = _guests("+", "the guests' names")
_WHICH = _guests("*", "the guests' names (default: every one)")
_JSON = _flag("--json", "the API's own answer on stdout, for programs")
_EVENTS = _flag("--json", "the API's events on stdout as they come, one JSON object a line, the outcome last")
_RUNG: Mapping[str, Any] = {"choices": RUNGS, "metavar": "RUNG"}
_WAIT = Option(
    ("--wait",), f"return at this rung: {', '.join(RUNGS)} (default: ssh where the guest has keys)", _RUNG, "rung"
)
_LIMIT: Mapping[str, Any] = {"type": seconds, "metavar": "DURATION"}
_TIMEOUT = Option(("--timeout",), "give up waiting after so long, e.g. 90s or 2m", _LIMIT)
_SINCE = Option(
    ("--since",),
    "what happened since then: 2h ago, or a time, e.g. 14:30 or 2026-03-01T14:30",
    {"type": moment, "metavar": "WHEN"},
)
_FOLLOW = _flag("--follow", "go on as more comes", "-f")

_NIC = Option(("nic",), "the NIC's network, or its number from 0", {"metavar": "NIC"})
_UP = Option(("state",), "up or down", {"choices": ("up", "down"), "metavar": "up|down"})
_LINK = "What the definition says of the cable holds again when the guest is started next."
_PCAP = Option(("file",), "the file to write, - for stdout", {"metavar": "FILE"}, "file")
_CAPTURED = "It needs no rights, and works on every network. It ends with the guest, and after 256 MiB."

_INVENTORY = """\
An ansible inventory script is two lines, "#!/bin/sh" and "exec vmctl inventory "$@""."""
_DOCTOR = "The exit code is 1 if a check fails."
_CONSOLE = """\
On a terminal Ctrl-] leaves. Elsewhere, and with --raw, it is a plain pipe that ends when either side does: for
expect, socat and labgrid."""
_SSH = """\
The guest's own host key was recorded when it was installed; no other is accepted, and none is asked about. The exit
status is ssh's."""

_VERBOSE = _flag("--verbose", "with the QEMU line as a diff of booted and current", "-v")
_DETAILED = _flag("--detailed-exitcode", "exit with 0 for nothing to do, 1 for an error, 2 for changes")
_PRUNE = _flag("--prune", "stop guests that are not defined any more, and move their disks to the trash")

_FILES = Option(
    ("files",),
    "files of one fleet, - for stdin (default: every *.yaml of the fleet's directory)",
    {"nargs": "*", "metavar": "FILE"},
    "file",
)
_LADDER = Option(("--timeout",), "how long a guest may take before it is made to (default: its own)", _LIMIT)
_FOR = Option(
    ("--for",),
    f"the rung: {', '.join(RUNGS)} (default: ssh)",
    {**_RUNG, "dest": "rung", "default": "ssh"},
    "rung",
)
_RAW = _flag("--raw", "a plain pipe, also on a terminal: nothing added, no tail")
_TAIL = Option(
    ("--tail",),
    "replay so many bytes first (default: a screenful; 0 with --raw)",
    {"type": int, "metavar": "BYTES"},
)
_INSTALL = _flag("--install", "the install transcript, also when the guest has booted since")
_LOGIN = Option(("guest",), "the guest's name, or USER@NAME", {"metavar": "[USER@]NAME"}, "guest")
_USER = Option(("-l", "--user"), "log in as this user", {"metavar": "USER"})
_COMMAND = Option(("words",), "run this instead of a shell, after --", {"nargs": "*", "metavar": "CMD"})
_LIST = _flag("--list", "every guest (the default)")
_HOST = Option(("--host",), "one guest's variables", {"metavar": "NAME"}, "guest")
_PICTURE = Option(("file",), "where to write it, - for stdout", {"metavar": "FILE.png"}, "file")
_BUILD = Option(("action",), "the only one there is", {"choices": ("build",), "metavar": "build"})
_RELEASE = Option(("release",), "e.g. debian-12", {"metavar": "RELEASE"}, "release")
_OUTPUT = Option(("-o", "--output"), "copy it here as well", {"metavar": "FILE"}, "file")

_TAG = Option(("tag",), "what the snapshot is called (default: the time of day)", {"nargs": "?", "metavar": "TAG"})
_DELETE = _flag("--delete", "delete that snapshot")
_BACK_TO = Option(("tag",), "the snapshot", {"nargs": "?", "metavar": "TAG"})
_FROM = Option(("--from",), "a backup in this directory instead", {"metavar": "DIR", "dest": "directory"}, "file")
_AT = Option(
    ("--at",), "which backup, by its number (default: the last)", {"metavar": "N", "type": int, "dest": "number"}
)
_DIRECTORY = Option(("directory",), "where the backups are; it must be there", {"metavar": "DIR"}, "file")
_FULL = _flag("--full", "all of it, also where what changed would do")
_VERIFY = _flag("--verify", "make none: see that the last one, and all that it needs, is whole")
_SOURCE = Option(("source",), "whose disk is copied; it must not run", {"metavar": "FROM"}, "guest")
_TARGET = Option(("target",), "who gets it; defined, and without a disk", {"metavar": "TO"}, "guest")
_LINKED = _flag("--linked", "store only what differs: both then stand on a base that is never written again")
_TRASH = Option(
    ("action",),
    "list (the default), restore or empty",
    {"nargs": "?", "choices": ("list", "restore", "empty"), "default": "list", "metavar": "list|restore|empty"},
)
_FOUND = Option(
    ("guest",), "what to put back: a guest's name, or an entry's", {"nargs": "?", "metavar": "NAME"}, "guest"
)
_OLDER = Option(("--older",), "empty: only what is there longer, e.g. 30d", _LIMIT)

_SNAPSHOT = """\
Of a guest that runs its memory is in it too, and it stands still meanwhile. Snapshots are in the disk itself: they
are no backup."""
_BACKUP = """\
The first backup in a directory has all of the disk; the next ones what changed since, each a qcow2 on top of the one
before. A guest runs on meanwhile; its file systems are at rest for a moment where its agent answers. The directory
can be moved, and its files read by qemu-img without vmd."""
_RESTORE = """\
To a backup only while the guest is down: the backup is verified, and the disk it had goes to the trash."""
_CLONE = """\
MAC addresses and UUID follow from the name, and cloud-init takes it for a new machine. What an installer put on the
disk is as it was: machine-id and ssh host keys are to be renewed inside."""

_NAMES = _flag("--names", "their names alone, for scripts and completion")
_FOR_NOW = _flag("--for-now", "for a shutdown of the host: what is wanted of them stays as it was")
_EVERY = Option(("--every",), "how long between two looks (default: 2s)", {**_LIMIT, "default": 2.0})
_COUNT = Option(
    ("-n", "--count"),
    "end after so many tables (default: on a terminal, never; else 1)",
    {"type": int, "metavar": "N"},
)
_SHELL = Option(("shell",), "bash, zsh or fish", {"choices": ("bash", "zsh", "fish"), "metavar": "SHELL"})

_COMPLETION = """\
bash: source <(vmctl completion bash). zsh: vmctl completion zsh > a file _vmctl in fpath. fish: vmctl completion fish
> ~/.config/fish/completions/vmctl.fish. A Debian package has them in place."""

VERBS = (
    Verb("check", "local", "is it valid? every fault at once; needs no daemon", (_FILES,)),
    Verb("schema", "local", "the JSON Schema of a definition, for editors; needs no daemon"),
    Verb(
        "plan",
        "facts",
        "what apply would change, how it would take effect, and the steps",
        (_WHICH, _VERBOSE, _DETAILED, _JSON),
        "A change takes effect live, at the guest's next start (restart), or only with another disk (rebuild).",
    ),
    Verb(
        "apply",
        "change",
        "make the whole fleet as it is defined; restarts nothing and touches no disk",
        (_PRUNE, _WAIT, _TIMEOUT, _EVENTS),
        "A guest that was told down stays down. What needs a restart stays pending until vmctl restart.",
    ),
    Verb(
        "upgrade",
        "change",
        "let guests see this QEMU's newest machine version and CPU from their next start",
        (_THESE, _EVENTS),
    ),
    Verb(
        "up",
        "change",
        "make the disk, install, start; return at a rung",
        (_SOME, _ALL, _WAIT, _TIMEOUT, _EVENTS),
        "Ctrl-C leaves the work going in the daemon.",
    ),
    Verb(
        "down",
        "change",
        "stop guests: agent, power button, quit, kill; also stops an install",
        (_SOME, _ALL, _LADDER, _FOR_NOW, _EVENTS),
    ),
    Verb("restart", "change", "stop and start guests", (_THESE, _WAIT, _TIMEOUT, _EVENTS)),
    Verb("status", "facts", "what is known of guests, in full", (_WHICH, _JSON)),
    Verb("list", "facts", "the guests, a line each", (_NAMES, _JSON)),
    Verb("wait", "change", "wait until a guest is ready", (_GUEST, _FOR, _TIMEOUT, _EVENTS)),
    Verb("console", "console", "attach to the serial console; Ctrl-] leaves", (_GUEST, _RAW, _TAIL), _CONSOLE),
    Verb("log", "watch", "what the serial console said, from byte 0", (_GUEST, _FOLLOW, _INSTALL)),
    Verb("ssh", "ssh", "log in by ssh, knowing the guest's host key", (_LOGIN, _USER, _COMMAND), _SSH),
    Verb("ssh-config", "ssh", "Host blocks for ssh -F, scp, rsync and ansible", (_WHICH, _JSON)),
    Verb(
        "inventory",
        "ssh",
        "ansible's dynamic inventory",
        (_LIST, _HOST, _flag("--json", "as ever: an inventory is always JSON")),
        _INVENTORY,
    ),
    Verb("ip", "facts", "a guest's addresses, one a line", (_GUEST, _JSON)),
    Verb("link", "change", "pull a cable of a running guest, or plug it in", (_GUEST, _NIC, _UP, _EVENTS), _LINK),
    Verb("pcap", "watch", "write down what passes a guest's NIC, until Ctrl-C", (_GUEST, _NIC, _PCAP), _CAPTURED),
    Verb("events", "watch", "what happened; with -f what happens", (_FOLLOW, _SINCE, _WHICH, _EVENTS)),
    Verb("why", "why", "what brought a guest where it is, and who asked for it", (_GUEST, _JSON)),
    Verb("screenshot", "watch", "the guest's screen as a PNG", (_GUEST, _PICTURE)),
    Verb("argv", "facts", "the exact QEMU line, ready to paste", (_GUEST, _flag("--json", "as a JSON list"))),
    Verb("uboot", "facts", "what to type at a real board's U-Boot, to do as the guest does", (_GUEST, _JSON)),
    Verb("doctor", "facts", "what this host can do, and how to mend what it can't", (_JSON,), _DOCTOR),
    Verb("rm", "change", "move guests to the trash", (_THESE, _EVENTS)),
    Verb("snapshot", "disks", "take a snapshot of a guest", (_GUEST, _TAG, _DELETE, _EVENTS), _SNAPSHOT),
    Verb("snapshots", "disks", "a guest's snapshots, a line each", (_GUEST, _JSON)),
    Verb(
        "restore", "disks", "go back to a snapshot, or to a backup", (_GUEST, _BACK_TO, _FROM, _AT, _EVENTS), _RESTORE
    ),
    Verb("backup", "disks", "back a guest's disk up", (_GUEST, _DIRECTORY, _FULL, _VERIFY, _EVENTS), _BACKUP),
    Verb("clone", "disks", "give a guest a copy of another one's disk", (_SOURCE, _TARGET, _LINKED, _EVENTS), _CLONE),
    Verb("trash", "disks", "what was removed; put it back, or remove it for good", (_TRASH, _FOUND, _OLDER, _JSON)),
    Verb("iso", "change", "build an unattended-install ISO", (_BUILD, _RELEASE, _OUTPUT, _EVENTS)),
    Verb("top", "top", "what guests use of the host; Ctrl-C leaves", (_EVERY, _COUNT, _JSON)),
    Verb("completion", "completion", "what a shell needs to complete these words", (_SHELL,), _COMPLETION),
    Verb("reload", "change", "have the daemon read the definitions again", (_JSON,)),
    Verb("version", "facts", "the versions of vmctl and of the daemon", (_JSON,)),
)
