"""vmctl against vmd itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Vmctl = Callable[..., CompletedProcess[str]]

FLEET = "guests:\n  alice: {memory: 128M, disk: 1G}\n  bare: {memory: 64M, boot: {kernel: /nowhere/vmlinuz}}\n"


@pytest.fixture
def vmd(environ: dict[str, str]) -> Iterator[None]:
    fleet = Path(environ["VMD_CONFIG_DIR"]) / "fleet.d"
    fleet.mkdir()
    (fleet / "a.yaml").write_text(FLEET)
    argv = (sys.executable, "-m", "vmd.daemon")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        while "control socket" not in (line := process.stderr.readline()):
            assert line, "vmd ended before it listened"
        yield
        process.terminate()
        process.communicate()


@pytest.mark.usefixtures("vmd")
def test_facts_of_a_fleet_that_never_ran(vmctl: Vmctl) -> None:
    assert [line.split()[:2] for line in vmctl("list").stdout.splitlines()[1:]] == [
        ["alice", "absent"],
        ["bare", "absent"],
    ]
    assert "memory     128 MiB" in vmctl("status", "alice").stdout
    assert json.loads(vmctl("status", "alice", "--json").stdout)["guests"][0]["state"] == "absent"
    assert json.loads(vmctl("inventory").stdout)["absent"] == {"hosts": ["alice", "bare"]}
    assert vmctl("version").stdout.splitlines()[1].startswith("vmd ")
    assert vmctl("reload").stdout == "guests: alice, bare\n"
    assert vmctl("events").returncode == 0


@pytest.mark.usefixtures("vmd")
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("status nobody", 3),
        ("up nobody", 3),
        ("argv nobody", 3),
        ("ip alice", 1),
        ("log alice", 1),
        ("console alice", 1),
        ("screenshot alice x.png", 1),
        ("wait alice --for process --timeout 1", 1),
        ("iso build nope", 2),
        ("down alice", 0),
    ],
)
def test_exit_codes(vmctl: Vmctl, words: str, status: int) -> None:
    done = vmctl(*words.split())
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("vmctl: ") == bool(status)
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("vmd")
def test_a_guest_that_can_not_start_says_why(vmctl: Vmctl) -> None:
    done = vmctl("up", "bare")
    assert (done.returncode, done.stdout) == (1, "")
    assert "vmctl: bare: boot.kernel: /nowhere/vmlinuz is not there\n  " in done.stderr
    events = [json.loads(line) for line in vmctl("up", "bare", "--json").stdout.splitlines()]
    assert (events[-1]["event"], events[-1]["ok"], events[-1]["exit_code"]) == ("outcome", False, 1)
