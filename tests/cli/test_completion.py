"""Completion, typed into real shells, with a Tab at the end."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmd.cli.arguments import VERBS
from vmd.cli.completion import bash, fish, zsh

from .conftest import Speaker, status

PATIENCE = 30.0
SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
COMMANDS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--private", "--no-config", "-i"),
}
SETUP = {
    "bash": "bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'; source {script}; PS1='rea''dy '",
    "zsh": "autoload -U compinit; compinit -D; setopt nolistambiguous; source {script}; PROMPT='rea''dy '",
    "fish": "source {script}; function fish_prompt; echo -n rea''dy' '; end",
}
ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>()][0-9A-B]?|P[^\x1b]*\x1b\\)")


class Shell:
    """A shell on a terminal."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.said = descriptor, ""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def expect(self, *texts: str) -> str:
        """Read until all of these were said since the last time; return it all."""
        while not all(text in self.said for text in texts):
            assert select.select([self.descriptor], [], [], PATIENCE)[0], f"no {texts} in {self.said!r}"
            raw = os.read(self.descriptor, 65536)
            if b"\x1b[c" in raw or b"\x1b[0c" in raw:
                os.write(self.descriptor, b"\x1b[?62;c")  # fish asks what kind of terminal it is on
            self.said += ESCAPES.sub("", raw.decode(errors="replace"))
        said, self.said = self.said, ""
        return said


@contextmanager
def shell(name: str, place: Path, environ: dict[str, str]) -> Iterator[Shell]:
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    programs = place / "bin"
    programs.mkdir()
    vmctl = programs / "vmctl"
    vmctl.write_text(f'#!/bin/sh\nexec {sys.executable} -m vmd.cli "$@"\n')
    vmctl.chmod(0o755)
    script = place / "completion"
    script.write_text(SCRIPTS[name]())
    mine = {"PATH": f"{programs}:{environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm"}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        (shutil.which("setsid") or "setsid", "--ctty", *COMMANDS[name]),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environ, **mine},
        cwd=place,
    )
    os.close(theirs)
    try:
        begun = Shell(ours)
        begun.type(SETUP[name].format(script=script) + "\r")
        begun.expect("ready ")
        yield begun
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture(params=SCRIPTS)
def typed(request: pytest.FixtureRequest, place: Path, environ: dict[str, str], speaker: Speaker) -> Iterator[Shell]:
    guests = [status("alice"), status("albert"), status("zoe")]
    speaker.json("GET /v1/guests", {"guests": guests, "faults": []})
    (place / "fleet-of-mine.yaml").write_text("")
    with shell(request.param, place, environ) as begun:
        yield begun


def test_what_is_typed_is_completed(typed: Shell) -> None:
    typed.type("echo; vmctl screen\t")
    typed.expect("vmctl screenshot ")
    typed.type("z\t")
    typed.expect("zoe ")
    typed.type("\x15vmctl up --wait ke\t")
    typed.expect("--wait kernel ")
    typed.type("--time\t")
    typed.expect("--timeout")
    typed.type(" 2m zoe a\t")
    typed.expect("albert", "alice")
    typed.type("\x15vmctl iso build debian-13 --ou\t")
    typed.expect("--output")
    typed.type("\x15vmctl check fleet-of\t")
    typed.expect("fleet-of-mine.yaml")


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=list(SCRIPTS))
def test_every_word_is_in_the_script(script: object) -> None:
    assert callable(script)
    made = script()
    missing = [
        (verb.name, spelling)
        for verb in VERBS
        for option in verb.options
        for spelling in option.spellings
        if spelling.startswith("-") and spelling.lstrip("-") not in made
    ]
    assert missing == []
    assert [verb.name for verb in VERBS if verb.name not in made] == []


def test_the_script_for_bash_is_understood_by_shellcheck(tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    script = tmp_path / "vmctl.bash"
    script.write_text(bash())
    done = subprocess.run((shellcheck, "--shell=bash", script), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
