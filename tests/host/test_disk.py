"""Disk images, by the real qemu-img."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmd.errors import CommandFailed, Refused, VmdError
from vmd.host.disk import CheckResult, chain, check, create, detect_format, flush, info, resize
from vmd.host.run import run

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-utils is not installed")

MIB = 1024 * 1024
AWKWARD = ("plain", "a,b", "c:d", "json:{}", "nbd:x", "with space", "-leading", "ümlaut", "driver=raw,x", "%s'\"")


@pytest.fixture(params=AWKWARD)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name: str = request.param
    (tmp_path / name).mkdir()
    return tmp_path / name / name


async def test_every_path_works(path: Path) -> None:
    await create(path, 10 * MIB)
    clone = path.with_name("clone " + path.name)
    await create(clone, backing=path, backing_format="qcow2")
    top, below = await chain(clone, "qcow2")
    assert (top.path, top.virtual_size, top.backing_file) == (clone, 10 * MIB, str(path))
    assert (below.path, below.backing_file) == (path, "")
    assert await resize(clone, 11 * MIB)
    assert await check(clone) == CheckResult(0, 0, 0)


async def test_a_relative_path_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await create(Path("nbd:x"), MIB)
    assert (await info(Path("nbd:x"), "qcow2")).virtual_size == MIB
    assert (tmp_path / "nbd:x").is_file()


async def test_info(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    await create(disk, 3 * MIB)
    found = await info(disk, "qcow2")
    assert found[1:3] == ("qcow2", 3 * MIB)
    assert 0 < found.actual_size < MIB
    assert found[4:] == ("", "", "", False, False)


async def test_only_the_owner_may_read_a_new_image(tmp_path: Path) -> None:
    await create(tmp_path / "disk", MIB)
    assert (tmp_path / "disk").stat().st_mode & 0o777 == 0o600


async def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"precious")
    with pytest.raises(Refused, match="exists already"):
        await create(disk, MIB)
    assert disk.read_bytes() == b"precious"


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VmdError, match="cannot be made: No such file or directory"):
        await create(tmp_path / "nowhere" / "disk", MIB)


async def test_what_qemu_img_refuses_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="qemu-img create"):
        await create(tmp_path / "disk", MIB, format="no-such-format")
    assert list(tmp_path.iterdir()) == []


async def test_preallocated(tmp_path: Path) -> None:
    await create(tmp_path / "disk", 2 * MIB, format="raw", preallocation="full")
    assert (await info(tmp_path / "disk", "raw")).actual_size >= 2 * MIB


async def test_a_clone_writes_nothing_to_its_base(tmp_path: Path) -> None:
    base, clone = tmp_path / "base", tmp_path / "clone"
    base.write_bytes(b"x" * MIB)
    await create(clone, 2 * MIB, backing=base, backing_format="raw")
    await run(("qemu-io", "-f", "qcow2", "-c", "write 0 64k", str(clone)), timeout=30)
    assert base.read_bytes() == b"x" * MIB
    assert (await info(clone, "qcow2"))[4:6] == (str(base), "raw")


async def test_a_clone_smaller_than_its_base_is_refused(tmp_path: Path) -> None:
    await create(tmp_path / "base", 2 * MIB)
    with pytest.raises(Refused, match=f"{MIB} bytes would cut off .* has {2 * MIB}; make it at least"):
        await create(tmp_path / "clone", MIB, backing=tmp_path / "base", backing_format="qcow2")
    assert not (tmp_path / "clone").exists()


async def test_a_base_without_its_format_or_without_itself(tmp_path: Path) -> None:
    with pytest.raises(VmdError, match="format of its backing file"):
        await create(tmp_path / "clone", MIB, backing=tmp_path / "base")
    with pytest.raises(CommandFailed, match="No such file"):
        await create(tmp_path / "clone", MIB, backing=tmp_path / "base", backing_format="raw")
    assert list(tmp_path.iterdir()) == []


async def test_a_raw_disk_that_a_guest_turned_into_a_qcow2_stays_raw(tmp_path: Path) -> None:
    secret, disk = tmp_path / "secret", tmp_path / "disk"
    secret.write_bytes(b"s" * MIB)
    await create(disk, backing=secret, backing_format="raw")
    assert (await info(disk, "raw"))[1:6:3] == ("raw", "")


async def test_a_backing_file_without_its_format_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    await create(tmp_path / "base", MIB)
    await create(disk, backing=tmp_path / "base", backing_format="qcow2")
    extension = b"\xe2\x79\x2a\xca"  # the backing file's format; qemu-img itself no longer leaves it out
    disk.write_bytes(disk.read_bytes().replace(extension, b"\x12\x34\x56\x78"))
    with pytest.raises(Refused, match="not its format"):
        await chain(disk, "qcow2")


@pytest.mark.parametrize("backing", ["nbd://127.0.0.1/x", 'json:{"driver":"null-co"}'])
async def test_a_backing_file_that_is_none_is_refused(tmp_path: Path, backing: str) -> None:
    disk = tmp_path / "disk"
    await run(
        ("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", backing, "-F", "raw", str(disk), str(MIB)), timeout=30
    )
    with pytest.raises(Refused, match="no file of this host"):
        await chain(disk, "qcow2")


async def test_a_chain_that_bites_its_tail_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    await run(("qemu-img", "create", "-qfqcow2", "-u", "-Fqcow2", "-bdisk", str(disk), str(MIB)), timeout=30)
    with pytest.raises(Refused, match="its own backing file"):
        await chain(disk, "qcow2")


async def test_a_data_file_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    options = ("-o", f"data_file={tmp_path}/data,data_file_raw=on")
    await run(("qemu-img", "create", "-qfqcow2", *options, str(disk), str(MIB)), timeout=30)
    assert (await info(disk, "qcow2")).data_file == f"{tmp_path}/data"


async def test_grows_and_never_shrinks(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    await create(disk, 2 * MIB)
    assert await resize(disk, 4 * MIB)
    assert not await resize(disk, 4 * MIB)
    with pytest.raises(Refused, match=f"has {4 * MIB} bytes and will not shrink to {2 * MIB}"):
        await resize(disk, 2 * MIB)
    assert (await info(disk, "qcow2")).virtual_size == 4 * MIB


async def test_damage_is_counted(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    await create(disk, 2 * MIB)
    await run(("qemu-io", "-f", "qcow2", "-c", "write 0 1M", str(disk)), timeout=30)
    with disk.open("r+b") as file:
        file.seek(2 * 65536)  # the first refcount block
        file.write(bytes(4096))
    found = await check(disk)
    assert found.corruptions > 0
    assert not found.sound


async def test_leaks_are_no_damage(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    await create(disk, 2 * MIB)
    with disk.open("r+b") as file:
        file.truncate(5 * 65536)
        file.seek(2 * 65536 + 2 * 4)
        file.write(b"\0\1")  # a reference to the fifth cluster, which nobody uses
    found = await check(disk)
    assert (found.corruptions, found.leaks, found.sound) == (0, 1, True)


async def test_in_use_names_the_process(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    await create(disk, MIB)
    with running(disk) as qemu, pytest.raises(CommandFailed, match=f"held by process {qemu.pid}"):
        await resize(disk, 2 * MIB)


class running:  # noqa: N801 - reads as `with running(disk)`
    """A QEMU that has an image open, ready when it is entered."""

    def __init__(self, disk: Path) -> None:
        node = json.dumps({"driver": "qcow2", "node-name": "d", "file": {"driver": "file", "filename": str(disk)}})
        monitor = ("-display", "none", "-qmp", "stdio", "-machine", "none", "-nodefaults")
        argv = ("qemu-system-x86_64", *monitor, "-blockdev", node)
        self.qemu = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> subprocess.Popen[bytes]:
        assert self.qemu.stdout
        assert b"QMP" in self.qemu.stdout.readline()
        return self.qemu

    def __exit__(self, *_: object) -> None:
        self.qemu.kill()
        self.qemu.communicate()


@pytest.fixture
def small_filesystem(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    argv = ("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount))
    if subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield mount
    unmount = ("umount", str(mount))
    subprocess.run(unmount, check=True)


@pytest.mark.parametrize("preallocation", ["falloc", "full"])
async def test_a_full_disk_is_said_and_leaves_nothing(small_filesystem: Path, preallocation: str) -> None:
    with pytest.raises(CommandFailed, match="bytes free") as failed:
        await create(small_filesystem / "disk", 8 * MIB, preallocation=preallocation)  # type: ignore[arg-type]
    assert "is full" in failed.value.hint
    assert list(small_filesystem.iterdir()) == []


async def test_detect_format(tmp_path: Path) -> None:
    await create(tmp_path / "qcow2", MIB)
    await create(tmp_path / "raw", MIB, format="raw")
    assert detect_format(tmp_path / "qcow2") == "qcow2"
    assert detect_format(tmp_path / "raw") == "raw"
    (tmp_path / "empty").touch()
    assert detect_format(tmp_path / "empty") == "raw"


@pytest.mark.parametrize("other", ["vmdk", "vdi", "vhdx", "qed", "vpc"])
async def test_another_format_is_named(tmp_path: Path, other: str) -> None:
    path = tmp_path / "image"
    await create(path, MIB, format=other)
    with pytest.raises(Refused, match=r"a (V\w+|QED) image.*qemu-img convert"):
        detect_format(path)


def test_a_compressed_download_is_named(tmp_path: Path) -> None:
    path = tmp_path / "image.xz"
    path.write_bytes(b"\xfd7zXZ\0....")
    with pytest.raises(Refused, match=r"compressed with xz.*unpack it first"):
        detect_format(path)


def test_detect_format_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(VmdError, match="cannot be read: No such file"):
        detect_format(tmp_path / "nowhere")


async def test_flush(tmp_path: Path) -> None:
    await create(tmp_path / "disk", MIB)
    await flush(tmp_path / "disk")
    with pytest.raises(VmdError, match="could not be written to its disk"):
        await flush(tmp_path / "nowhere")


async def test_without_qemu_img_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(CommandFailed, match="apt install qemu-utils"):
        await info(tmp_path / "disk", "raw")
