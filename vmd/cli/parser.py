"""vmctl's words, read by the table in :mod:`vmd.cli.arguments`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..errors import UsageError
from .arguments import VERBS, Verb

ABOUT = "Declarative virtual machines for a home server: asks vmd, the daemon."

EXIT_CODES = """\
exit codes: 0 done, 1 failed, 2 usage or an invalid definition, 3 no such guest, 4 no daemon, 5 timed out"""


_BY_NAME = {verb.name: verb for verb in VERBS}


def _help(prog: str) -> argparse.HelpFormatter:
    """Lay out help; left to find the width itself, argparse imports shutil, and with it four compressors."""
    try:
        width = os.get_terminal_size().columns - 2
    except OSError:
        width = 100
    return argparse.RawDescriptionHelpFormatter(prog, width=max(width, 40))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the words, where argparse would end the process."""
        usage = self.format_usage().removeprefix("usage: ").strip()
        raise UsageError(message, f"usage: {' '.join(usage.split())}")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read vmctl's words; the namespace's ``verb`` is the :class:`Verb`, ``command`` what stood after ``--``.

    :raise UsageError: when they make no sense.
    :raise SystemExit: when they ask for help or the version, which is then on stdout.
    """
    own, command = _divided(words)
    verb = _BY_NAME.get(own[0]) if own else None
    if verb is None:
        _whole().parse_args(own[:1] or ["--help"])
        raise _unknown(own[0])
    if command and verb.name != "ssh":
        own, command = [*own, "--", *command], []
    return _parser(verb).parse_args(own[1:], argparse.Namespace(verb=verb, command=command))


def _divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    where = words.index("--") if "--" in words else len(words)
    return list(words[:where]), list(words[where + 1 :])


def _parser(verb: Verb) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"vmctl {verb.name}",
        description=f"{verb.help[0].upper()}{verb.help[1:]}.",
        epilog=verb.details or None,
        allow_abbrev=False,
        formatter_class=_help,
    )
    for option in verb.options:
        parser.add_argument(*option.spellings, help=option.help, **option.settings)
    return parser


def _whole() -> argparse.ArgumentParser:
    """Make the parser of the words before any verb; it is only ever asked for help, the version or an error."""
    verbs = "\n".join(f"  {verb.name:<11} {verb.help}" for verb in VERBS)
    parser = _Parser(
        prog="vmctl",
        usage="vmctl VERB …",
        description=ABOUT,
        epilog=f"verbs:\n{verbs}\n\nvmctl VERB --help says more of one.\n{EXIT_CODES}",
        allow_abbrev=False,
        formatter_class=_help,
    )
    parser.add_argument("--version", action="version", version=f"vmctl {__version__}")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    return parser


def _unknown(word: str) -> UsageError:
    import difflib  # noqa: PLC0415 - only a mistake needs it

    near = difflib.get_close_matches(word, _BY_NAME, 1)
    return UsageError(f"there is no verb {word!r}", f"did you mean {near[0]}?" if near else "see vmctl --help")
