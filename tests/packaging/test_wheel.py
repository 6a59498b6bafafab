"""The wheel: what pip installs is what stands in the checkout."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 68:
        pytest.skip("setuptools is older than the 68 that pyproject.toml asks for")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "vmd", source / "vmd", ignore=shutil.ignore_patterns("__pycache__"))
    argv = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist"), str(source))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next((source / "dist").glob("*.whl")))


def test_every_file_of_vmd_is_in_it(wheel: zipfile.ZipFile) -> None:
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "vmd").rglob("*") if path.is_file()}
    here = {path for path in here if "__pycache__" not in path}
    assert here - set(wheel.namelist()) == set()


def test_it_brings_vmctl_and_vmd_and_nothing_beside(wheel: zipfile.ZipFile) -> None:
    points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(points).decode()
    assert "vmctl = vmd.cli.__main__:main" in text
    assert "vmd = vmd.daemon.__main__:main" in text
    assert {name.partition("/")[0].partition("-")[0] for name in wheel.namelist()} == {"vmd"}
