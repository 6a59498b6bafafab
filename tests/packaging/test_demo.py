"""packaging/demo as a newcomer runs it: to a login, again in no time, and away without a trace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "packaging/demo"

pytestmark = [pytest.mark.boot, pytest.mark.timeout(900)]


class Demo:
    """The demo in a directory of its own, with the vmd that is being tested."""

    said = ""
    """What the first run said."""

    def __init__(self, directory: Path, home: Path) -> None:
        self.directory = directory
        unset = {"VMD_CONFIG_DIR", "VMD_STATE_DIR", "VMD_RUNTIME_DIR"}
        self.environ = {name: value for name, value in os.environ.items() if name not in unset}
        self.environ |= {
            "VMD_DEMO_DIR": str(directory),
            "VMD_VENV": sys.prefix,
            "VMD_SKIP_SETUP": "1",
            "HOME": str(home),
        }

    def __call__(self, *words: str) -> str:
        done = subprocess.run((DEMO, *words), env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def vmctl(self, words: str) -> str:
        """What vmctl says in the environment that ``--env`` tells of."""
        script = f'eval "$("$1" --env)" && vmctl {words}'
        argv = ("sh", "-c", script, "sh", str(DEMO))
        return subprocess.run(argv, env=self.environ, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """Not below pytest's own directory: that is closed to others, and root's vmd runs QEMU as nobody."""
    with tempfile.TemporaryDirectory(prefix="vmd-demo-") as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "home").mkdir()
        made = Demo(root / "demo", root / "home")
        try:
            made.said = made()
            yield made
        finally:
            subprocess.run((DEMO, "--clean"), env=made.environ, check=False)


def test_leads_to_a_login(demo: Demo) -> None:
    assert re.search(r"^Linux alice .* x86_64 GNU/Linux$", demo.said, re.MULTILINE)
    assert "vmctl console alice" in demo.said


def test_a_second_run_does_nothing_twice(demo: Demo) -> None:
    boot_id = demo.vmctl("ssh alice -- cat /proc/sys/kernel/random/boot_id")
    daemon = (demo.directory / "vmd.pid").read_text()
    assert re.search(r"^Linux alice ", demo(), re.MULTILINE)
    assert demo.vmctl("ssh alice -- cat /proc/sys/kernel/random/boot_id") == boot_id
    assert (demo.directory / "vmd.pid").read_text() == daemon


def test_alice_outlives_a_killed_vmd(demo: Demo) -> None:
    boot_id = demo.vmctl("ssh alice -- cat /proc/sys/kernel/random/boot_id")
    os.kill(int((demo.directory / "vmd.pid").read_text().split()[0]), 9)
    demo()
    assert demo.vmctl("ssh alice -- cat /proc/sys/kernel/random/boot_id") == boot_id


def test_stop_ends_every_process_and_keeps_the_disk(demo: Demo) -> None:
    demo("--stop")
    assert [line for line in processes() if str(demo.directory) in line] == []
    assert (demo.directory / "state/guests/alice/disk.qcow2").exists()


def test_clean_leaves_nothing(demo: Demo) -> None:
    demo("--clean")
    assert not demo.directory.exists()
    assert demo("--clean").startswith("demo: nothing runs")


def processes() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
