"""Every command of docs/ is run, in the order in which it stands there, with tiny guests in place of the real ones.

A block ``yaml file: NAME`` is written into the fleet's directory, a block ``console`` is typed into a shell, and
``console not run: REASON`` is not. A line that ends with ``# fails`` has to.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.daemon.conftest import home, known, place, tiny
from tests.daemon.house import PATIENCE, Vmd
from vmd.cli.arguments import VERBS
from vmd.definition.parse import Source, parse
from vmd.installer.contract import Failed, Succeeded, Transcript

__all__ = ["home", "known", "place", "tiny"]

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    kind: str
    words: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    return (Block(*found) for found in BLOCK.findall(page.read_text()))


def reduced(vmd: Vmd, text: str) -> str:
    """The same guests, each with a disk that boots in a moment in the place of one that is to be installed."""
    fleet = yaml.safe_load(text)
    for name, guest in fleet["guests"].items():
        if set(guest) & {"boot", "image"} or guest.get("install"):
            continue
        path = vmd.root / f"{name}.raw"
        vmd.tiny(name)
        guest |= {"memory": "16M", "disk": {"path": str(path), "format": "raw"}}
    return str(yaml.safe_dump(fleet))


def shims(vmd: Vmd) -> Path:
    directory = vmd.root / "bin"
    directory.mkdir()
    (directory / "vmctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m vmd.cli "$@"\n')
    (directory / "vmctl").chmod(0o755)
    return directory


def typed(vmd: Vmd, line: str, environ: dict[str, str]) -> None:
    command = line.removesuffix("# fails")
    done = subprocess.run(
        ("/bin/sh", "-c", command),
        env=environ,
        cwd=vmd.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode != 0) == (command != line), f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_does_what_it_should(page: Path, home: Vmd) -> None:
    home.start()
    environ = {**home.environ, "PATH": f"{shims(home)}:{home.environ['PATH']}"}
    for block in blocks(page):
        if block.kind == "yaml" and block.words.startswith("file: "):
            assert parse([Source(page.name, block.text.encode(), "/srv")]).faults == ()
            home.define(reduced(home, block.text), block.words.removeprefix("file: "))
        elif block.kind == "console" and not block.words:
            for line in block.text.splitlines():
                assert line.startswith("$ "), f"{line!r} is no command"
                typed(home, line.removeprefix("$ "), environ)


def test_most_of_what_stands_there_is_run() -> None:
    found = [block for page in PAGES for block in blocks(page) if block.kind == "console"]
    lines = {True: 0, False: 0}
    for block in found:
        lines[not block.words] += block.text.count("$ ")
    assert lines[True] > lines[False]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_says_why(page: Path) -> None:
    odd = [
        block.words
        for block in blocks(page)
        if (block.kind == "console" and block.words and not re.fullmatch(r"not run: .{10,}", block.words))
        or (block.kind == "yaml" and not re.fullmatch(r"file: [\w-]+\.yaml|not a definition", block.words))
        or block.kind not in {"", "console", "yaml"}
    ]
    assert odd == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_every_verb_that_is_named_is_one(page: Path) -> None:
    named = set(re.findall(r"(?:`|\$ )vmctl ([a-z][a-z-]*)", page.read_text()))
    assert named - {verb.name for verb in VERBS} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in linked if "://" not in link and not (page.parent / link).exists()] == []


def test_the_nixos_installer_keeps_the_contract() -> None:
    """What its script says, read as vmd reads a console."""
    script = (ROOT / "docs/nixos-installer.nix").read_text()
    said = re.findall(r'echo "((?:INSTALL_|SSH_HOST_KEY)[^"]*)"', script)
    key = "SSH_HOST_KEY ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKf4vC7kXqg9zQ1oTnUu3sXkqO8uJx3m2rFz5yH0bGdE"
    lines = [key if line.startswith("SSH_HOST_KEY") else line for line in said]
    heard: list[Any] = [message for line in lines for message in Transcript().feed(f"{line}\r\n".encode())]
    assert len(heard) == len(lines), "each line means something"
    assert sum(isinstance(message, Succeeded) for message in heard) == 1
    assert sum(isinstance(message, Failed) for message in heard) == 2
    assert isinstance(heard[-1], Succeeded)
    assert script.index("ssh.pub") < script.index("mkfs")
    assert "/dev/vda" in script
