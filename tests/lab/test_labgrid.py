"""The shipped example for labgrid, with a labgrid that knows nothing of vmd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from tests.daemon.house import run_as
from tests.lab import linux

pytestmark = pytest.mark.boot

EXAMPLE = Path(__file__).parents[2] / "config" / "labgrid"


@pytest.fixture
def client() -> str:
    found = shutil.which("labgrid-client")
    if found is None:
        pytest.skip("labgrid is not installed")
    return found


@pytest.fixture
def environment(client: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A vmd of its own that keeps the example's guest."""
    root = tmp_path_factory.mktemp("d")
    for directory in (*root.parents[:2], root):
        directory.chmod(0o755)
    try:
        made = linux.make(root / "linux")
    except CalledProcessError as error:
        pytest.skip(f"no package can be had: {error.stderr.strip()[-300:]}")
    run_as(made.initrd)
    text = (EXAMPLE / "guest.yaml").read_text().replace("/srv/router/vmlinuz", str(made.kernel))
    (root / "c" / "fleet.d").mkdir(parents=True)
    (root / "c" / "fleet.d" / "guest.yaml").write_text(text.replace("/srv/router/initrd", str(made.initrd)))
    places = {f"VMD_{name}_DIR": str(root / name[0].lower()) for name in ("CONFIG", "STATE", "RUNTIME")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **places, "PATH": path}
    with (root / "vmd.log").open("wb") as log:
        vmd = subprocess.Popen([str(Path(sys.executable).with_name("vmd"))], env=environment, stdout=log, stderr=log)
    vmctl = str(Path(sys.executable).with_name("vmctl"))
    deadline = time.monotonic() + 60
    while subprocess.run([vmctl, "status"], env=environment, capture_output=True, check=False).returncode:
        assert vmd.poll() is None, (root / "vmd.log").read_text()
        assert time.monotonic() < deadline
    yield environment
    subprocess.run([vmctl, "down", "--all", "--timeout", "1"], env=environment, check=False)
    vmd.terminate()
    vmd.wait()


@pytest.mark.timeout(300)
def test_labgrid_drives_a_guest(client: str, environment: dict[str, str], tmp_path: Path) -> None:
    example = shutil.copytree(EXAMPLE, tmp_path / "example")  # away from pytest's configuration here
    python = str(Path(client).with_name("python3"))
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--lg-env", str(example / "env.yaml"))
    done = subprocess.run(
        [python, *words, str(example / "test_router.py")],
        cwd=example,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
