"""The units as they stand in the tree: right, hardened, and each line of that with its reason."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "units"
SYSTEM = sorted(UNITS.glob("vmd*"))
WORST = 4.0
"""systemd-analyze security: 0 is closed, 10 open; 4.0 and below is "OK"."""


def analyze(*words: str) -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    done = subprocess.run((program, *words), capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["vmd.service", "vmd-guests.service"])
def test_little_is_exposed(name: str) -> None:
    judged = analyze("security", "--offline=true", "--no-pager", str(UNITS / name))
    (exposure,) = re.findall(rf"Overall exposure level for {name}: ([\d.]+)", judged)
    assert float(exposure) <= WORST


def test_units_are_right(tmp_path: Path) -> None:
    """Where the programs they start aren't installed, another stands in for them."""
    for path in SYSTEM:
        text = re.sub(r"/usr/bin/(vmd|vmctl)\b", "/bin/true", path.read_text())
        (tmp_path / path.name).write_text(text)
    assert analyze("verify", "--man=no", *(str(tmp_path / path.name) for path in SYSTEM)) == ""


@pytest.mark.parametrize("path", sorted(UNITS.rglob("*.*")), ids=lambda path: path.name)
def test_a_unit_says_what_it_is_for(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_each_line_of_hardening_has_its_reason() -> None:
    lines = (
        (UNITS / "vmd.service").read_text().split("# -- What it may not do")[1].partition("[Install]")[0].splitlines()
    )
    bare = [line for above, line in pairwise(lines) if line[:1].isupper() and not above]
    assert bare == [], "write the reason above it"
    assert sum(line[:1].isupper() for line in lines) > 20
