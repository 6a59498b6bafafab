"""Run commands one after another, and see to it that they leave nothing behind.

Every process that loses its parent becomes a child of this one (Linux: PR_SET_CHILD_SUBREAPER), so what is still
there when a command has ended is what it left: each is named, ended, and fails the run, as does a tap, a network
namespace or a mount that was not there before. The exit status is 0 only if every command succeeded and left nothing.

    python3 .ci/watch.py "packaging/test" "packaging/test -m boot"
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
PROC = Path("/proc")


def main(words: list[str]) -> int:
    """Run each command, even after one that failed; return the exit status of the whole."""
    parser = argparse.ArgumentParser(description="Run commands and see to it that they leave nothing behind.")
    parser.add_argument("commands", nargs="+", metavar="COMMAND", help="its words as a shell would split them")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds for a command's processes to end after it")
    given = parser.parse_args(words)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit("watch: this kernel has no subreaper")
    failures = [failure for command in given.commands for failure in watched(command, given.grace)]
    for failure in failures:
        say(f"FAILED {failure}")
    say(f"{len(given.commands)} commands, {len(failures)} failures")
    return 1 if failures else 0


def watched(command: str, grace: float) -> list[str]:
    """Run one command; return what is wrong with how it ended and what it left."""
    before = kept_by_the_kernel()
    say(f"$ {command}")
    began = time.monotonic()
    status = subprocess.run(shlex.split(command), check=False).returncode
    say(f"{command}: exit status {status} after {time.monotonic() - began:.0f} s")
    failures = [f"{command}: exit status {status}"] if status else []
    failures += [f"{command}: left process {process}" for process in left_processes(grace)]
    return failures + [f"{command}: left {thing}" for thing in sorted(kept_by_the_kernel() - before)]


def left_processes(grace: float) -> list[str]:
    """Wait a little for our remaining descendants to end; end the others and return what they were."""
    deadline = time.monotonic() + grace
    while (left := descendants(os.getpid())) and time.monotonic() < deadline:
        reap()
        time.sleep(0.1)
    named = [f"{pid}: {words}" for pid, words in left.items()]
    while left:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        left = descendants(os.getpid())
    reap()
    return named


def descendants(ancestor: int) -> dict[int, str]:
    """Every living process below this one, by pid, with its command line; zombies are gone already."""
    parents = {int(path.name): parent for path in PROC.glob("[0-9]*") if (parent := parent_of(path))}
    found: dict[int, str] = {}
    wanted = [ancestor]
    while wanted:
        above = wanted.pop()
        below = [pid for pid, parent in parents.items() if parent == above and pid not in found]
        found.update({pid: command_line(PROC / str(pid)) for pid in below})
        wanted += below
    return found


def parent_of(process: Path) -> int | None:
    """The parent of a process; None if it is gone, or a zombie."""
    try:
        state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(parent)


def command_line(process: Path) -> str:
    """What a process was started as, or its kernel name."""
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        return shlex.join(os.fsdecode(word) for word in words if word) or (process / "comm").read_text().strip()
    except OSError:
        return "(gone)"


def reap() -> None:
    """Take the exit status of every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def kept_by_the_kernel() -> set[str]:
    """Taps, named network namespaces and mounts: what outlives the process that made it."""
    taps = {f"tap {path.parent.name}" for path in Path("/sys/class/net").glob("*/tun_flags")}
    namespaces = {f"network namespace {path.name}" for path in Path("/run/netns").glob("*")}
    mounts = {f"mount {line.split()[4]}" for line in (PROC / "self/mountinfo").read_text().splitlines()}
    return taps | namespaces | mounts


def say(line: str) -> None:
    """Tell the reader of the log."""
    sys.stdout.write(f"watch: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
