"""The verbs about a guest's disk: snapshots, backups, clones, and the trash."""

from __future__ import annotations

import os
from argparse import Namespace

from ..errors import UsageError
from ..protocol import Exit
from . import show
from .change import follow
from .client import Json, daemon, route


def snapshot(arguments: Namespace) -> int:
    """Have a snapshot taken, or deleted."""
    if arguments.delete and arguments.tag is None:
        raise UsageError(
            "which snapshot is to be deleted is not said", f"vmctl snapshots {arguments.guest} lists them"
        )
    body = {"guest": arguments.guest, "tag": arguments.tag, "delete": arguments.delete}
    return int(follow(arguments, body)["exit_code"])


def snapshots(arguments: Namespace) -> int:
    """Print a guest's snapshots, a line each."""
    body = daemon().get(route("guests", arguments.guest, "snapshots"))
    if arguments.json:
        show.facts(body)
    else:
        show_snapshots(body)
    return Exit.DONE


def show_snapshots(body: Json) -> None:
    """Write ``GET /v1/guests/NAME/snapshots``."""
    rows = [(each["tag"], show.clock(each["time"]), _memory(each["memory"])) for each in body["snapshots"]]
    if rows:
        show.table(("TAG", "TAKEN", "MEMORY"), rows)
    else:
        show.note(f"{body['name']} has no snapshot")


def _memory(octets: int) -> str:
    return show.size(octets) if octets else "none: the disk alone"


def restore(arguments: Namespace) -> int:
    """Have a disk put back to a snapshot or a backup."""
    if (arguments.tag is None) == (arguments.directory is None):
        raise UsageError("name a snapshot, or the directory of a backup with --from")
    if arguments.number is not None and arguments.directory is None:
        raise UsageError("--at goes with --from")
    body = {"guest": arguments.guest, "tag": arguments.tag, "number": arguments.number, "directory": None}
    if arguments.directory is not None:
        body["directory"] = _absolute(arguments.directory)
    return int(follow(arguments, body)["exit_code"])


def backup(arguments: Namespace) -> int:
    """Have a disk backed up into a directory, or what is there verified."""
    directory = _absolute(arguments.directory)
    body = {"guest": arguments.guest, "directory": directory, "full": arguments.full, "verify": arguments.verify}
    return int(follow(arguments, body)["exit_code"])


def clone(arguments: Namespace) -> int:
    """Have a guest given a copy of another one's disk."""
    body = {"source": arguments.source, "target": arguments.target, "linked": arguments.linked}
    return int(follow(arguments, body)["exit_code"])


def trash(arguments: Namespace) -> int:
    """Print what is in the trash; put back, or remove for good, what is named."""
    match arguments.action, arguments.guest:
        case "list", None:
            body = daemon().get(route("trash"))
            if arguments.json:
                show.facts(body)
            else:
                show_trash(body)
            return Exit.DONE
        case "restore", str(name):
            return int(follow(arguments, {"restore": name})["exit_code"])
        case "empty", None:
            return int(follow(arguments, {"empty": True, "older": arguments.older})["exit_code"])
    raise UsageError(f"trash {arguments.action} {'takes a' if arguments.guest is None else 'takes no'} name")


def show_trash(body: Json) -> None:
    """Write ``GET /v1/trash`` as a table."""
    rows = [
        (each["name"], each["guest"], each["what"], show.ago(each["time"]), show.size(each["bytes"]), _note(each))
        for each in body["trash"]
    ]
    if rows:
        show.table(("NAME", "GUEST", "WHAT", "AGE", "SIZE", "NOTE"), rows)
    else:
        show.note("the trash is empty")


def _note(entry: Json) -> str:
    left = f"its disk was left at {entry['left']}" if entry["left"] else ""
    return entry["error"] or left or (f"put there by {entry['by']}" if entry["by"] else "")


def _absolute(path: str) -> str:
    """The daemon has a working directory of its own."""
    return os.path.abspath(path)  # noqa: PTH100 - pathlib would cost vmctl a third of its start
