"""vmctl: read the words, carry out the verb, say what went wrong."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib import import_module

from ..errors import VmdError
from ..protocol import Exit
from . import show
from .parser import parse

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 + SIGINT."""

BROKEN_PIPE = 141
"""The exit status when nobody reads any more: 128 + SIGPIPE, as any other program's."""


def main(words: Sequence[str] | None = None) -> int:
    """Carry out one command line (this process's own if None), and return the exit status."""
    _accept_any_text()
    try:
        status = _carry_out(parse(sys.argv[1:] if words is None else words))
        sys.stdout.flush()
    except BrokenPipeError:
        return _hush()
    except VmdError as error:
        show.problem(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except KeyError as error:  # every word of vmctl's own is in its table: this one was looked for in an answer
        show.complaint(f"vmd's answer lacks {error}", "are vmctl and vmd of one version? vmctl version")
        return Exit.FAILED
    except OSError as error:
        show.complaint(str(error))
        return Exit.FAILED
    return status


def _carry_out(arguments: Namespace) -> int:
    """Find the verb's function, named as the verb is, in the file of its family; only that is imported."""
    family = import_module(f"vmd.cli.{arguments.verb.family}")
    run: Callable[[Namespace], int] = getattr(family, arguments.verb.name.replace("-", "_"))
    return run(arguments)


def _accept_any_text() -> None:
    """Let a locale without a character show a question mark for it, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _hush() -> int:
    """Point stdout nowhere, or Python complains about the pipe once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


if __name__ == "__main__":
    sys.exit(main())
