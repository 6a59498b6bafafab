"""The kit on a real Linux: its shell, files, interruptions by its kernel, and a bug that only a power cut shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from tests.lab import linux
from vmd.errors import TimedOut
from vmd.lab.labs import Labs

pytestmark = pytest.mark.boot

YAML = """
guests:
  router:
    memory: 128M
    accel: tcg
    disk: 64M
    boot: {{kernel: {kernel}, initrd: {initrd}, cmdline: "console=ttyS0 panic=1"}}
"""

CARELESS = "printf 1 | dd of=/dev/vda bs=1 seek=0 conv=fsync; printf new | dd of=/dev/vda bs=1 seek=1M conv=fsync"
"""Says that the new version counts before it is there."""

CAREFUL = "printf new | dd of=/dev/vda bs=1 seek=1M conv=fsync; printf 1 | dd of=/dev/vda bs=1 seek=0 conv=fsync"

CHECK = """[ "$(head -c1 /dev/vda)" != 1 ] || [ "$(dd if=/dev/vda bs=1 skip=1M count=3 2>/dev/null)" = new ]"""


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    if why := linux.missing():
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("linux")
    try:
        made = linux.make(directory)
    except CalledProcessError as error:
        pytest.skip(f"no package can be had: {error.stderr.strip()[-300:]}")
    (directory / "lab.yaml").write_text(YAML.format(kernel=made.kernel, initrd=made.initrd))
    labs = Labs(tmp_path_factory.mktemp("artefacts"), {}, lambda: None)
    yield labs
    labs.close_all()


@pytest.fixture(scope="module")
def lab_file(labs: Labs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(tmp_path_factory.getbasetemp().glob("linux*/lab.yaml"))


def test_its_shell_does_what_it_is_told(labs: Labs, lab_file: Path) -> None:
    console = labs.get(lab_file)["router"].console
    assert console.run("echo hi; ls /dev/vda; false")[:2] == (1, "hi\n/dev/vda\n")
    assert console.run("cd /proc; x='a  b'").status == 0
    assert console.run('pwd; echo "$x"').stdout == "/proc\na  b\n"
    assert console.run("seq 20000").stdout == "".join(f"{n}\n" for n in range(1, 20001))
    assert console.run("if then (").status == 2


def test_the_kernel_may_break_in(labs: Labs, lab_file: Path) -> None:
    console = labs.get(lab_file)["router"].console
    done = console.run("printf half; echo '<3>the kernel speaks' >/dev/kmsg; sleep 0.2; echo ' done'")
    assert done.stdout == "half done\n"
    assert any("the kernel speaks" in line for line in done.kernel)
    assert "Linux version" in console.run("dmesg").stdout


def test_files_go_in_and_out(labs: Labs, lab_file: Path) -> None:
    router = labs.get(lab_file)["router"]
    data = bytes(range(256)) * 100
    router.put(data, "/tmp/a file")
    assert router.get("/tmp/a file") == data


def test_a_command_that_hangs_is_interrupted(labs: Labs, lab_file: Path) -> None:
    console = labs.get(lab_file)["router"].console
    with pytest.raises(TimedOut, match="was not done within 1 s"):
        console.run("sleep 1000", timeout=1)
    assert console.run("echo back").stdout == "back\n"


def test_each_reset_is_a_clean_guest(labs: Labs, lab_file: Path) -> None:
    router = labs.get(lab_file)["router"]
    for _ in range(20):
        router.reset()
        assert router.console.run("ls /tmp").stdout == ""
        assert router.console.run("head -c5 /dev/vda | tr -d '\\0'").stdout == ""
        router.console.run("touch /tmp/dirty; printf dirty | dd of=/dev/vda conv=fsync")


@pytest.mark.timeout(600)
def test_a_sweep_finds_the_bug(labs: Labs, lab_file: Path) -> None:
    router = labs.get(lab_file)["router"]

    def broken(update: str) -> list[int]:
        router.reset()
        found = []
        for cut in router.power_cuts(writes=range(1, 20)):
            with cut:
                assert router.console.run(update).status == 0
            if router.console.run(CHECK).status:
                found.append(cut.write)
        return found

    assert broken(CARELESS)
    assert broken(CAREFUL) == []
