"""The watch that .ci/run keeps: a run that leaves something behind fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WATCH = Path(__file__).parents[2] / ".ci/watch.py"


def watch(*commands: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, str(WATCH), "--grace", "0.2", *commands)
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_commands_that_leave_nothing_pass() -> None:
    done = watch("true", "sh -c 'sleep 0 & wait'")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "watch: 2 commands, 0 failures"


def test_a_failed_command_fails_the_whole_and_the_rest_runs() -> None:
    done = watch("false", "echo second")
    assert done.returncode == 1
    assert "watch: FAILED false: exit status 1" in done.stdout.splitlines()
    assert "second" in done.stdout.splitlines()


def test_a_process_left_behind_is_named_and_ended(tmp_path: Path) -> None:
    """In a session of its own, with a cleared environment and its parent gone, as a daemon is."""
    left = tmp_path / "pid"
    done = watch(
        f"sh -c 'setsid env -i sh -c \"echo \\$\\$ >{left}; exec sleep 3600\" & while ! [ -s {left} ]; do :; done'"
    )
    pid = int(left.read_text())
    assert done.returncode == 1
    assert any(line.endswith(f"left process {pid}: sleep 3600") for line in done.stdout.splitlines())
    assert not Path(f"/proc/{pid}").exists()
