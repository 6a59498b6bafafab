"""The guest's disk, made from a small tree by the real tools."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from vmd.installer import disk, loader
from vmd.installer.command import run
from vmd.installer.root import GUEST_FILES

needs_tools = pytest.mark.skipif(
    not all(
        shutil.which(name, path="/usr/sbin:/usr/bin:/sbin")
        for name in ("sfdisk", "mke2fs", "mformat", "grub-mkimage")
    )
    or not (loader.MODULE_DIRECTORY / "i386-pc/boot.img").exists(),
    reason="not installed: fdisk e2fsprogs mtools grub-common grub-pc-bin",
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("disk")
    root = directory / "root"
    (root / "boot/grub").mkdir(parents=True)
    (root / "boot/grub/grub.cfg").write_text("set timeout=0\n")
    (root / "large").write_bytes(os.urandom(3 * disk.MIB))
    (root / "link").symlink_to("large")
    disk.build(root, directory / "disk.img")
    return directory / "disk.img"


def test_partitions_are_where_the_image_has_them() -> None:
    starts = re.findall(r"start=(\d+), (?:size=(\d+), )?", (GUEST_FILES / "partitions").read_text())
    assert [int(start) for start, _ in starts] == [disk.BIOS_SECTOR, disk.ESP_SECTOR, disk.ROOT_SECTOR]
    assert [int(start) + int(size) for start, size in starts[:2]] == [disk.ESP_SECTOR, disk.ROOT_SECTOR]


@needs_tools
def test_table_is_valid(image: Path) -> None:
    assert "No errors detected" in run("sfdisk", "--verify", image)
    assert [re.search(r'name="(\w+)"', line)[1] for line in table(image)] == ["bios", "esp", "root"]  # type: ignore[index]


def table(image: Path) -> list[str]:
    return [line for line in run("sfdisk", "--dump", image).splitlines() if "start=" in line]


@needs_tools
def test_loader_is_in_place(image: Path) -> None:
    content = image.read_bytes()
    assert content[:440] == loader.boot_code()
    assert content[510:512] == b"\x55\xaa"
    core = (image.parent / "core.img").read_bytes()
    assert content[disk.BIOS_SECTOR * 512 :][: len(core)] == core


@needs_tools
def test_root_is_whole_and_fits(image: Path, tmp_path: Path) -> None:
    root = tmp_path / "root.img"
    root.write_bytes(image.read_bytes()[disk.ROOT_SECTOR * 512 :])
    run("e2fsck", "-f", "-n", root)
    assert run("debugfs", "-R", "cat /boot/grub/grub.cfg", root) == "set timeout=0\n"
    assert run("debugfs", "-R", "stat /link", root).count('Fast link dest: "large"') == 1
    facts = run("dumpe2fs", "-h", root)
    assert disk.ROOT_UUID in facts
    assert "metadata_csum_seed" in facts


@needs_tools
@pytest.mark.skipif(not shutil.which("grub-fstest"), reason="not installed: grub-common")
def test_grub_reads_it(image: Path) -> None:
    assert run("grub-fstest", image, "cat", "(loop0,gpt3)/boot/grub/grub.cfg") == "set timeout=0\n"


def test_size_counts_each_file_once(tmp_path: Path) -> None:
    empty = disk.root_mib(tmp_path)
    (tmp_path / "a").write_bytes(bytes(8 * disk.MIB))
    one = disk.root_mib(tmp_path)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert empty + 8 <= one <= empty + 9
    assert disk.root_mib(tmp_path) == one


def test_small_files_count_as_the_blocks_they_take(tmp_path: Path) -> None:
    before = disk.root_mib(tmp_path)
    for number in range(1024):
        (tmp_path / str(number)).write_text("x")
    assert disk.root_mib(tmp_path) >= before + 4
