"""An upgrade of QEMU under guests that are pinned to what the one before had."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.daemon.house import Vmd
from vmd.daemon.hardware import replaced


def concerns(vmd: Vmd) -> list[str]:
    return [check["fact"] for check in vmd.ctl("doctor", "--json").json["checks"] if check["name"] == "alice"]


def test_a_board_that_qemu_has_no_more_is_named_and_refused(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    assert vmd.ctl("up", "alice").code == 0
    assert concerns(vmd) == []
    assert vmd.ctl("down", "alice").code == 0
    lock = vmd.guest() / "lock.json"
    record = json.loads(lock.read_text())
    record["pins"]["machine"] = "pc-q35-0.1"
    lock.write_text(json.dumps(record))
    assert concerns(vmd) == ["alice is pinned to pc-q35-0.1, which this QEMU has no more"]
    refused = vmd.ctl("up", "alice")
    assert refused.code == 1
    assert "vmctl upgrade alice" in refused.err
    assert vmd.ctl("upgrade", "alice").code == 0
    assert concerns(vmd) == []
    assert vmd.ctl("up", "alice").code == 0


def test_a_program_whose_file_was_replaced_is_told_from_one_that_is_there(tmp_path: Path) -> None:
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / "sleep")
    with subprocess.Popen([program, "60"]) as running:
        try:
            assert not replaced(running.pid)
            Path(program).unlink()
            assert replaced(running.pid)
        finally:
            running.kill()
