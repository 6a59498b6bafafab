"""What stands in a lab.yaml, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmd.errors import DefinitionError
from vmd.lab.settings import load

GUESTS = "guests:\n  router: {memory: 64M, boot: {kernel: k}}\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    return path


def test_a_fleet_is_enough(tmp_path: Path) -> None:
    bench = load(write(tmp_path, GUESTS))
    assert bench.scope == "module"
    assert bench.settings["router"].ready is None
    assert bench.guests["router"].boot is not None
    assert bench.guests["router"].boot.kernel == str(tmp_path / "k")


def test_a_guest_says_when_it_is_ready(tmp_path: Path) -> None:
    more = "lab: {scope: session, guests: {router: {ready: 'press.*Enter', timeout: 5, snapshot: false}}}"
    bench = load(write(tmp_path, GUESTS + more))
    settings = bench.settings["router"]
    assert bench.scope == "session"
    assert not isinstance(settings.ready, str)
    assert settings.ready
    assert settings.ready.pattern == "press.*Enter"
    assert (settings.timeout, settings.snapshot) == (5, False)


def test_a_rung_is_a_rung(tmp_path: Path) -> None:
    assert load(write(tmp_path, GUESTS + "lab: {guests: {router: {ready: ssh}}}")).settings["router"].ready == "ssh"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("lab: {scope: week}", "neither module nor session"),
        ("lab: {guests: {ruter: {}}}", "ruter"),
        ("lab: {guests: {router: {redy: ssh}}}", "redy"),
        ("lab: {guests: {router: {ready: '('}}}", "router"),
        ("lab: {guests: {router: {timeout: soon}}}", "timeout"),
        ("lab: {guests: {router: {timeout: true}}}", "timeout"),
        ("lab: [router]", "mapping"),
        ("gusts: {}", "gusts"),
    ],
)
def test_what_is_wrong_is_told_with_its_file(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(DefinitionError, match=told) as caught:
        load(write(tmp_path, GUESTS + more))
    assert "lab.yaml" in str(caught.value)


def test_a_test_without_a_lab_yaml_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"lab\.yaml: No such file"):
        load(tmp_path / "lab.yaml")
