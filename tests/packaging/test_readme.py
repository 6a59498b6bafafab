"""README.md is true: what it names exists, and what exists is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vmd.cli.arguments import VERBS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def schema() -> Any:
    argv = (str(Path(sys.executable).with_name("vmctl")), "schema")
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def first_columns(heading: str) -> set[str]:
    """The words in code in the first column of the table below a heading."""
    table = re.search(rf"^{re.escape(heading)}\n.*?\n((?:\|[^\n]*\n)+)", README, re.MULTILINE | re.DOTALL)
    assert table, f"README.md has no table below {heading}"
    return {word for row in table[1].splitlines() for word in re.findall(r"`([^`]+)`", row.split("|")[1])}


def keys(schema: Any, definition: str) -> set[str]:
    return set(schema["$defs"][definition]["properties"])


@pytest.mark.parametrize(
    ("heading", "definition"), [("### guests: NAME:", "Guest"), ("### installers: NAME:", "Installer")]
)
def test_every_key_has_its_row(schema: Any, heading: str, definition: str) -> None:
    assert first_columns(heading) == keys(schema, definition)


def test_every_verb_has_its_row() -> None:
    assert {words.split()[1] for words in first_columns("## Verbs")} == {verb.name for verb in VERBS}


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_script_it_names_is_there() -> None:
    scripts = set(re.findall(r"(?:packaging|\.ci)/[a-z]+", README))
    assert {"packaging/demo", "packaging/test", ".ci/run"} <= scripts
    assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_its_least_definition_is_valid(tmp_path: Path) -> None:
    least = re.search(r"^## Three lines\n\n((?: {4}.*\n)+)", README, re.MULTILINE)
    assert least
    (tmp_path / "alice.yaml").write_text(re.sub("^    ", "", least[1], flags=re.MULTILINE))
    argv = (str(Path(sys.executable).with_name("vmctl")), "check", str(tmp_path / "alice.yaml"))
    assert subprocess.run(argv, check=False).returncode == 0
