"""The FAT drive: the same files to a guest, from QEMU's vvfat and from mtools."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from vmd.errors import CommandFailed, Refused, VmdError
from vmd.host.credentials import Credentials
from vmd.host.fat import CLUSTER, CLUSTERS, SIZE, SLOTS, check_directory, check_label, make
from vmd.host.run import run

needs_mtools = pytest.mark.skipif(not shutil.which("mformat"), reason="mtools is not installed")
needs_qemu_img = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-utils is not installed")
AWKWARD = ("seed", "a,b", "c:d e", "-x", "json:{}", "ü")

FILES = {
    "ssh.pub": b"ssh-ed25519 AAAA alice\n",
    "meta-data": b"",
    "user-data": b"#cloud-config\n" * 1000,
    "A long name, with much in it.txt": bytes(range(256)),
}


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    return filled(tmp_path / "seed", FILES)


def filled(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir(mode=0o700, parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


async def content(image: Path, into: Path) -> dict[str, bytes]:
    """What is on a FAT image, by mtools: every file of its root."""
    into.mkdir()
    await run(("mcopy", "-i", str(image), "::*", str(into)), timeout=30)
    return {each.name: each.read_bytes() for each in into.iterdir()}


async def by_vvfat(directory: Path, image: Path) -> None:
    """The drive as QEMU would show it to a guest."""
    drive = {"driver": "vvfat", "dir": str(directory), "floppy": True, "label": "CIDATA"}
    source = "json:" + json.dumps({"driver": "raw", "file": drive})
    await run(("qemu-img", "convert", "-O", "raw", source, str(image)), timeout=60)


@needs_mtools
@pytest.mark.parametrize("name", AWKWARD)
async def test_an_image_has_the_same_files(tmp_path: Path, name: str) -> None:
    directory = filled(tmp_path / name / "seed", FILES)
    image = tmp_path / name / (name + ".img")
    await make(image, directory, "CIDATA")
    assert await content(image, tmp_path / "out") == FILES
    assert image.stat().st_size == SIZE
    assert image.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in image.parent.iterdir()) == sorted(["seed", image.name])


@needs_mtools
@needs_qemu_img
async def test_a_guest_cannot_tell_it_from_vvfat(tmp_path: Path, seed: Path) -> None:
    await make(tmp_path / "ours", seed, "CIDATA")
    await by_vvfat(seed, tmp_path / "theirs")
    assert await content(tmp_path / "ours", tmp_path / "a") == await content(tmp_path / "theirs", tmp_path / "b")
    assert (tmp_path / "ours").stat().st_size == (tmp_path / "theirs").stat().st_size
    for image in ("ours", "theirs"):
        shown = await run(("mdir", "-i", str(tmp_path / image), "::"), timeout=30)
        assert "is CIDATA" in shown


@needs_mtools
async def test_an_old_image_is_replaced(tmp_path: Path, seed: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"old")
    await make(image, seed, "one")
    (seed / "ssh.pub").write_bytes(b"another")
    await make(image, seed, "two")
    assert (await content(image, tmp_path / "out"))["ssh.pub"] == b"another"


@needs_mtools
async def test_an_empty_directory_is_an_empty_drive(tmp_path: Path) -> None:
    await make(tmp_path / "image", filled(tmp_path / "seed", {}), "EMPTY")
    assert "No files" in await run(("mdir", "-i", str(tmp_path / "image"), "::"), timeout=30)


@needs_mtools
@needs_qemu_img
async def test_a_full_drive_fits_both_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    directory = filled(tmp_path / "seed", {"a": b"x", "b": b"y" * (CLUSTERS - 1) * CLUSTER})
    await make(tmp_path / "ours", directory, "FULL")
    await by_vvfat(directory, tmp_path / "theirs")
    assert await content(tmp_path / "ours", tmp_path / "x") == await content(tmp_path / "theirs", tmp_path / "y")
    with (directory / "b").open("ab") as file:
        file.write(b"z")
    with pytest.raises(Refused, match=f"largest file, b, .*holds {CLUSTERS * CLUSTER}"):
        check_directory(directory)
    with pytest.raises(CommandFailed, match="does not fit"):
        await by_vvfat(directory, tmp_path / "more")


@needs_mtools
@needs_qemu_img
async def test_as_many_files_as_fit_both_and_one_more_is_refused(tmp_path: Path) -> None:
    count = (SLOTS - 1) // 2
    directory = filled(tmp_path / "seed", {f"name-{n}.txt": b"x" for n in range(count)})
    await make(tmp_path / "ours", directory, "MANY")
    await by_vvfat(directory, tmp_path / "theirs")
    assert await content(tmp_path / "ours", tmp_path / "x") == await content(tmp_path / "theirs", tmp_path / "y")
    (directory / "more").touch()
    with pytest.raises(Refused, match=f"too many files for a FAT drive: {count + 1}"):
        check_directory(directory)


def test_the_files_in_order(seed: Path) -> None:
    assert [each.name for each in check_directory(seed)] == sorted(FILES)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
    "dangling link": (lambda path: path.symlink_to("/nowhere"), "symbolic link"),
    "directory": (lambda path: path.mkdir(), "not a plain file"),
    "fifo": (os.mkfifo, "not a plain file"),
    "socket": (make_socket, "not a plain file"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_plain_file_is_refused_by_name(seed: Path, kind: str) -> None:
    maker, why = ODD[kind]
    maker(seed / "odd")
    with pytest.raises(Refused, match=f"{seed}/odd is .*{why}"):
        check_directory(seed)


@pytest.mark.parametrize("name", ["a:b", "a?b", ".hidden", "ends.", "ends ", "ü", "a\nb", "CON", "aux.txt"])
def test_names_that_fat_cannot_hold(seed: Path, name: str) -> None:
    (seed / name).touch()
    with pytest.raises(Refused, match="name that FAT can't hold"):
        check_directory(seed)


def test_two_names_that_are_one_to_fat(seed: Path) -> None:
    (seed / "SSH.pub").touch()
    with pytest.raises(Refused, match=r"one name to FAT"):
        check_directory(seed)


@pytest.mark.parametrize(
    ("mode", "user", "fits"),
    [
        (0o600, Credentials(os.geteuid(), 1), True),
        (0o200, Credentials(os.geteuid(), 1), False),
        (0o644, Credentials(65533, 65533), True),
        (0o640, Credentials(65533, 65533), False),
        (0o640, Credentials(65533, 65533, (os.getegid(),)), True),
        (0o604, Credentials(65533, os.getegid()), False),
    ],
)
def test_a_file_that_qemus_user_cannot_read(seed: Path, mode: int, user: Credentials, fits: bool) -> None:
    for each in seed.iterdir():
        each.chmod(0o644)
    (seed / "ssh.pub").chmod(mode)
    if fits:
        assert len(check_directory(seed, user)) == len(FILES)
    else:
        with pytest.raises(Refused, match=r"ssh.pub can't be read by the user"):
            check_directory(seed, user)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_open_to_others_is_refused(seed: Path, mode: int) -> None:
    seed.chmod(mode)
    with pytest.raises(Refused, match=f"open to others .mode {mode:o}.; chmod 700"):
        check_directory(seed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(seed: Path) -> None:
    os.chown(seed, 65534, 65534)
    with pytest.raises(Refused, match="belongs to user 65534"):
        check_directory(seed)
    for each in seed.iterdir():
        each.chmod(0o644)
    assert check_directory(seed, Credentials(65534, 65534))


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(VmdError, match="cannot be read: No such file"):
        check_directory(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(Refused, match="is not a directory"):
            check_directory(tmp_path / name)


@pytest.mark.parametrize("label", ["", "twelve-bytes", "a b", "ü", "a/b", "CIDATA\n"])
def test_what_is_no_label(label: str) -> None:
    with pytest.raises(Refused, match="can't be a FAT label"):
        check_label(label)


async def test_a_path_that_mtools_misreads_is_refused(tmp_path: Path, seed: Path) -> None:
    with pytest.raises(Refused, match="@@"):
        await make(tmp_path / "x@@1", seed, "CIDATA")


async def test_without_mtools_the_package_is_named(
    tmp_path: Path, seed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandFailed, match="apt install mtools"):
        await make(tmp_path / "image", seed, "CIDATA")
    assert [each.name for each in tmp_path.iterdir()] == ["seed"]


async def test_an_image_where_there_is_no_directory(tmp_path: Path, seed: Path) -> None:
    with pytest.raises(VmdError, match="cannot be made: No such file"):
        await make(tmp_path / "nowhere" / "image", seed, "CIDATA")
