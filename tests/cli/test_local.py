"""The verbs that need no daemon, run as processes without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Vmctl = Callable[..., CompletedProcess[str]]

GOOD = "guests:\n  {name}: {{memory: 1G, disk: 40G}}\n"


@pytest.fixture
def fleet(place: Path, environ: dict[str, str]) -> Path:
    fleet = Path(environ["VMD_CONFIG_DIR"]) / "fleet.d"
    fleet.mkdir()
    return fleet


def test_a_fleet_is_every_yaml_of_its_directory(vmctl: Vmctl, fleet: Path) -> None:
    (fleet / "a.yaml").write_text(GOOD.format(name="alice"))
    (fleet / "b.yaml").write_text(GOOD.format(name="bob") + "  eve: {memory: 1G, disk: 1G}\n")
    for name in ("c.yml", ".d.yaml", "e.yaml~"):
        (fleet / name).write_text("nonsense")
    done = vmctl("check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 guests in 2 files\n", "")


def test_every_fault_has_a_line(vmctl: Vmctl, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("guests:\n  alice: {memroy: 1G, disk: 40G}\n  bob: {memory: x, disk: 1G}\n")
    done = vmctl("check", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    *faults, summary = done.stderr.splitlines()
    assert summary == f"{len(faults)} faults in 1 file"
    assert any(line.startswith(f"{file}:2:11: guests.alice.memroy: ") for line in faults)
    assert any(line.startswith(f"{file}:3:9: guests.bob.memory: ") for line in faults)


def test_files_are_one_fleet(vmctl: Vmctl, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(GOOD.format(name="alice"))
    done = vmctl("check", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"))
    assert done.returncode == 2
    assert "1 fault in 2 files" in done.stderr


def test_stdin_is_a_file(vmctl: Vmctl) -> None:
    assert vmctl("check", "-", stdin=GOOD.format(name="alice")).stdout == "1 guest in 1 file\n"
    assert vmctl("check", "-", stdin="guests: [").stderr.startswith("stdin:")


@pytest.mark.parametrize(
    "octets", [b"\0" * 100, b"\xff\xfe\xfa", b"a: &a [*a]\n", b"x" * 50_000_000, b"!!python/object:os.system {}"]
)
def test_hostile_files_are_faults(vmctl: Vmctl, tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(octets)
    done = vmctl("check", str(tmp_path / "a.yaml"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("in 1 file")


@pytest.mark.parametrize(("name", "said"), [("no.yaml", "No such file"), (".", "Is a directory")])
def test_what_can_not_be_read_is_told(vmctl: Vmctl, tmp_path: Path, name: str, said: str) -> None:
    done = vmctl("check", str(tmp_path / name))
    assert done.returncode == 1
    assert said in done.stderr


def test_no_fleet_is_told(vmctl: Vmctl, environ: dict[str, str]) -> None:
    done = vmctl("check")
    assert done.returncode == 1
    assert f"{environ['VMD_CONFIG_DIR']}/fleet.d: No such file or directory" in done.stderr


def test_a_schema_is_json_schema(vmctl: Vmctl) -> None:
    schema = json.loads(vmctl("schema").stdout)
    assert "$schema" in schema
    assert {"guests", "installers"} <= set(schema["properties"])
