"""The namespace a build happens in, on this kernel and as this user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installer.conftest import needs_a_builder
from vmd.errors import CommandFailed
from vmd.installer import namespace
from vmd.installer.command import run


@pytest.fixture(autouse=True)
def builder() -> None:
    needs_a_builder()


def test_in_there_we_are_root_and_the_first_process(tmp_path: Path) -> None:
    assert run(*namespace.command("id", "-u")).strip() == "0"
    assert run(*namespace.command(sys.executable, "-c", "import os; print(os.getpid())")).strip() == "1"


def test_mounts_stay_in_there(tmp_path: Path) -> None:
    there, name = tmp_path / "there", tmp_path / "na,me with: everything"
    for path in (there, name):
        path.mkdir()
    (there / "file").write_text("x")
    script = (
        "import sys; from pathlib import Path; from vmd.installer import namespace; a, b = map(Path, sys.argv[1:])"
    )
    script += "; namespace.bind(a, b); print(*[path.name for path in b.iterdir()])"
    assert run(*namespace.command(sys.executable, "-c", script, str(there), str(name))) == "file\n"
    assert list(name.iterdir()) == []


def test_nothing_in_there_outlives_its_first_process(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys; subprocess.Popen(['sleep', '600'], stdout=sys.stdout); print('started', flush=True)"
    )
    done = subprocess.run(
        namespace.command(sys.executable, "-c", script), capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "started\n"  # and the pipe is closed: nobody holds it any more


def test_remove_takes_what_belongs_to_others(tmp_path: Path) -> None:
    left = tmp_path / "build"
    (left / "root/dir").mkdir(parents=True)
    run(*namespace.command("chown", "-R", "33:33", str(left / "root")))
    namespace.remove(left)
    assert not left.exists()
    namespace.remove(left)


def test_check_says_nothing_where_all_is_well() -> None:
    namespace.check()


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ('unshare: no line matching user "dan" in /etc/subuid: Success', "--add-subuids"),
        ("unshare: failed to execute newuidmap: Permission denied", "uidmap"),
        ("newgidmap: gid range [0-1) -> [1000-1001) not allowed", "--add-subgids"),
    ],
)
def test_remedies_name_the_user(said: str, remedy: str) -> None:
    hint = namespace.remedy(CommandFailed(("unshare",), 1, said), "dan")
    assert remedy in hint
    assert "dan" in hint


def test_remedy_without_unshare() -> None:
    assert namespace.remedy(CommandFailed(("unshare",), 127, ""), "dan") == "apt install util-linux"


@pytest.mark.skipif(os.geteuid() != 0, reason="for root only")
def test_remedy_for_root_in_a_container() -> None:
    assert "SYS_ADMIN" in namespace.remedy(CommandFailed(("unshare",), 1, "Operation not permitted"), "root")
