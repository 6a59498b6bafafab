"""The man pages: made from the programs' own tables, complete, and such that man has nothing to say against them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vmd.cli.arguments import VERBS
from vmd.daemon.__main__ import parser
from vmd.definition.guest import Guest

ROOT = Path(__file__).parents[2]
PAGES = ("vmctl.1", "vmd.8", "vmd.yaml.5")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("manual")
    argv = (sys.executable, str(ROOT / "packaging/manual.py"), str(directory))
    done = subprocess.run(
        argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return directory


def shown(page: Path) -> tuple[str, str]:
    """What man shows of a page, in one line, and what it has to say against it."""
    man = shutil.which("man")
    if man is None:
        pytest.skip("man is not installed (package man-db)")
    environ = {**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    argv = (man, "--warnings", "--local-file", "--encoding=UTF-8", str(page))
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()), done.stderr


@pytest.mark.parametrize("name", PAGES)
def test_man_has_nothing_to_say_against_it(pages: Path, name: str) -> None:
    said, against = shown(pages / name)
    assert against == ""
    assert len(said) > 1000


def test_every_word_of_vmctl_is_explained(pages: Path) -> None:
    said, _ = shown(pages / "vmctl.1")
    words = [word for verb in VERBS for option in verb.options for word in option.spellings if word.startswith("-")]
    assert [word for word in (*words, *(verb.name for verb in VERBS)) if word not in said] == []


def test_every_option_of_vmd_is_explained(pages: Path) -> None:
    said, _ = shown(pages / "vmd.8")
    options = [word for action in parser()._actions for word in action.option_strings]
    assert options
    assert [word for word in options if word not in said] == []


def test_every_key_of_a_guest_is_explained(pages: Path) -> None:
    said, _ = shown(pages / "vmd.yaml.5")
    assert [key for key in Guest.model_fields if f" {key} " not in said and key != "name"] == []
    assert "See above." not in said, "each key has words of its own"
