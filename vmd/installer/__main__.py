"""``python -m vmd.installer build debian-12 -o FILE``: one installer ISO, in a process of its own.

Says on standard output, one JSON object a line, ``{"progress": [done, total, text]}``; when it fails,
``{"error": message, "hint": hint}``, with exit status 1. Ended by a signal, it cleans up first.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from vmd.errors import VmdError
from vmd.installer import debian, recipe


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say, and return the exit status."""
    arguments = _parser().parse_args(words)
    try:
        arguments.act(arguments)
    except VmdError as error:
        _say({"error": error.message, "hint": error.hint})
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vmd.installer", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    build = verbs.add_parser("build", help="make the ISO, unless it is there already")
    build.add_argument("release", choices=debian.RELEASES)
    build.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    build.add_argument("--work", type=Path, metavar="DIRECTORY", help="room for 1.5 GB (default: beside FILE)")
    build.set_defaults(act=_build)
    bake = verbs.add_parser("bake")  # what build runs in its namespace
    bake.add_argument("release")
    bake.add_argument("key")
    bake.add_argument("work", type=Path)
    bake.set_defaults(act=_bake)
    return parser


def _build(arguments: argparse.Namespace) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    output = arguments.output.absolute()
    work = (arguments.work or output.parent / ".vmd-installer").absolute()
    debian.build(arguments.release, output, work=work, announce=_progress)


def _bake(arguments: argparse.Namespace) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    recipe.bake(arguments.release, arguments.key, arguments.work, _progress)


def _leave(number: int, _frame: FrameType | None) -> None:
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)  # once is enough; the clean-up is not to be cut short
    sys.exit(128 + number)


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin: its lock would be missed when the interpreter ends
    os._exit(1)


def _progress(done: int, total: int, text: str) -> None:
    _say({"progress": [done, total, text]})


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
