"""The verbs that need no daemon. Only here does vmctl load definitions, and only when they are called."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import VmdError
from ..protocol import Exit
from . import show
from .client import places

if TYPE_CHECKING:
    from ..definition.parse import Parsed, Source


def check(arguments: Namespace) -> int:
    """Tell every fault of a fleet; 2 if there is one."""
    from ..definition.parse import parse  # noqa: PLC0415 - loads pydantic

    files = arguments.files or fleet_files(places(os.environ, os.getuid()).fleet)
    parsed = parse([_source(file) for file in files])
    show_checked(parsed, len(files))
    return Exit.USAGE if parsed.faults else Exit.DONE


def show_checked(parsed: Parsed, files: int) -> None:
    """Write the faults, or how much was found to be right."""
    for fault in parsed.faults:
        show.note(str(fault))
    where = f"in {_counted(files, 'file')}"
    if parsed.faults:
        show.note(f"{_counted(len(parsed.faults), 'fault')} {where}")
    else:
        show.line(f"{_counted(len(parsed.fleet.guests), 'guest')} {where}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def fleet_files(directory: str) -> Sequence[str]:
    """List the definitions of a fleet: every ``*.yaml`` of its directory, in the order of their names.

    :raise VmdError: if there is no such directory, or it may not be read.
    """
    try:
        names = os.listdir(directory)  # noqa: PTH208 - as light as everything here
    except OSError as error:
        raise VmdError(
            f"{directory}: {error.strerror}", "make it, and write a definition there, NAME.yaml"
        ) from error
    return [f"{directory}/{name}" for name in sorted(names) if name.endswith(".yaml") and not name.startswith(".")]


def _source(file: str) -> Source:
    """Read a file, or a byte more than a definition may have, which the parser will say."""
    from ..definition.node import LARGEST_TEXT  # noqa: PLC0415 - loads yaml
    from ..definition.parse import Source  # noqa: PLC0415 - loads pydantic

    if file == "-":
        return Source("stdin", sys.stdin.buffer.read(LARGEST_TEXT + 1), os.getcwd())  # noqa: PTH109
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - as light as everything here
            return Source(file, opened.read(LARGEST_TEXT + 1))
    except OSError as error:
        raise VmdError(f"{file}: {error.strerror}", "name a file that you may read, or - for stdin") from error


def schema(_: Namespace) -> int:
    """Print the JSON Schema of a definition."""
    from ..definition.schema import json_schema  # noqa: PLC0415 - loads pydantic

    show.facts(json_schema())
    return Exit.DONE
