"""The router's scripts: what can be said of them without fetching or booting anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROUTER = Path(__file__).parents[2] / "packaging/router"
SCRIPTS = sorted(path for path in ROUTER.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh"))


def call(*argv: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = call("shellcheck", "--shell", "sh", script)
    assert done.returncode == 0, done.stdout


def test_every_script_is_looked_at() -> None:
    assert {"init", "kernel", "rcS", "udhcpc.script"} == {path.name for path in SCRIPTS}


def test_the_linter_has_nothing_to_say() -> None:
    ruff = Path(sys.executable).with_name("ruff")
    name = str(ROUTER.parent / "make.py")  # a name that says what it is
    for words in (("check", "--no-fix"), ("format", "--check")):
        done = subprocess.run(
            (ruff, *words, "--stdin-filename", name, "-"),
            input=(ROUTER / "make").read_bytes(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("name", ["make", "kernel"])
def test_help_names_the_script_and_changes_nothing(name: str, tmp_path: Path) -> None:
    done = subprocess.run((ROUTER / name, "--help"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"usage: packaging/router/{name}" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["make", "kernel"])
@pytest.mark.parametrize("words", [(), ("--what",)])
def test_words_that_make_no_sense_are_refused(name: str, words: tuple[str, ...]) -> None:
    done = call(ROUTER / name, *words)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_what_is_missing_is_named_with_its_package(tmp_path: Path) -> None:
    done = call(sys.executable, ROUTER / "make", tmp_path / "router", PATH="/nonexistent")
    if done.returncode == 0 or "not found" not in done.stderr:
        pytest.skip("all of it is in /usr/sbin and /sbin here")
    assert "apt install binutils kmod squashfs-tools" in done.stderr


def test_an_architecture_that_no_kernel_is_made_for_is_refused(tmp_path: Path) -> None:
    done = call(ROUTER / "kernel", tmp_path, "x86_64")
    assert done.returncode == 2
    assert "x86_64 is neither mips nor mipsel" in done.stderr
