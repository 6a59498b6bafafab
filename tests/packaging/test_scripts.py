"""The scripts in packaging/ and .ci/: what can be said of them without installing or booting anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path
    for path in [*(ROOT / "packaging").iterdir(), ROOT / ".ci/run"]
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")
)
NAMES = [str(path.relative_to(ROOT)) for path in SCRIPTS]
WITH_HELP = [ROOT / "packaging" / name for name in ("setup", "demo", "test")]


def call(*argv: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


def test_there_are_scripts() -> None:
    assert {"packaging/setup", "packaging/demo", "packaging/test", ".ci/run"} <= set(NAMES)


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = call("shellcheck", "--shell", "sh", script)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_script_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    done = call("sh", "-n", script)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", WITH_HELP, ids=lambda path: path.name)
def test_help_names_the_script_and_changes_nothing(script: Path, tmp_path: Path) -> None:
    done = call(script, "--help", VMD_VENV=str(tmp_path / "venv"), VMD_DEMO_DIR=str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: packaging/{script.name}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("setup", "everything"), ("demo", "--stopp"), ("demo", "--stop", "--clean")])
def test_unknown_words_are_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    done = call(ROOT / "packaging" / words[0], *words[1:], VMD_DEMO_DIR=str(tmp_path / "demo"))
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert list(tmp_path.iterdir()) == []


def test_setup_names_the_place_where_it_could_not_make_its_environment(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    venv = tmp_path / "file" / "venv"
    done = call(ROOT / "packaging/setup", VMD_VENV=str(venv), VMD_SKIP_PACKAGES="1")
    assert done.returncode == 1
    assert f"could not make {venv}" in done.stderr
    assert "VMD_VENV" in done.stderr


def test_demo_leaves_a_strangers_directory_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").write_text("dear")
    done = call(ROOT / "packaging/demo", VMD_DEMO_DIR=str(tmp_path), VMD_SKIP_SETUP="1")
    assert done.returncode == 1
    assert f"{tmp_path} is not the demo's" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("word", ["--stop", "--clean"])
def test_demo_that_never_ran_has_nothing_to_end(word: str, tmp_path: Path) -> None:
    here = {"VMD_DEMO_DIR": str(tmp_path / "demo"), "VMD_VENV": str(tmp_path / "venv")}
    done = call(ROOT / "packaging/demo", word, **here)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_clean_leaves_a_strangers_directory_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").write_text("dear")
    call(ROOT / "packaging/demo", "--clean", VMD_DEMO_DIR=str(tmp_path), VMD_VENV=str(tmp_path / "venv"))
    assert (tmp_path / "photos").read_text() == "dear"


def test_env_survives_a_shell(tmp_path: Path) -> None:
    """Spaces, quotes and dollars in a path reach vmctl as they are."""
    demo = tmp_path / "it's $HOME"
    demo.mkdir()
    (demo / ".vmd-demo").write_text("")
    script = 'eval "$("$1" --env)"; printf "%s\\n" "$VMD_CONFIG_DIR" "$VMD_STATE_DIR" "$VMD_RUNTIME_DIR" "$PATH"'
    done = call(
        "sh", "-c", script, "sh", ROOT / "packaging/demo", VMD_DEMO_DIR=str(demo), VMD_VENV=str(demo / "venv")
    )
    config, state, runtime, path = done.stdout.splitlines()
    assert (config, state) == (f"{demo}/config", f"{demo}/state")
    assert path == f"{demo}/venv/bin:{os.environ['PATH']}"
    if runtime != f"{demo}/run":
        Path(runtime).rmdir()


def test_sockets_of_a_deep_demo_fit(tmp_path: Path) -> None:
    demo = tmp_path / ("deep" * 20)
    demo.mkdir()
    (demo / ".vmd-demo").write_text("")
    script = 'eval "$("$1" --env)"; echo "$VMD_RUNTIME_DIR"'
    asked = [call("sh", "-c", script, "sh", ROOT / "packaging/demo", VMD_DEMO_DIR=str(demo)) for _ in range(2)]
    first, second = (Path(done.stdout.strip()) for done in asked)
    assert first == second
    assert len(f"{first}/guests/alice/monitor") < 108
    assert first.stat().st_mode & 0o777 == 0o700
    first.rmdir()
