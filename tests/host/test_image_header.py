from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from vmd.host import disk
from vmd.host.image_header import Header, read_header

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")


def make(path: Path, *arguments: str, size: str = "10M") -> Path:
    subprocess.run(("/usr/bin/env", "qemu-img", "create", "-q", *arguments, str(path), size), check=True)
    return path


def patch(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


async def by_qemu_img(path: Path, form: str) -> Header:
    """The same facts, asked of who knows best."""
    told = await disk.header(path, form)
    backing = told.get("full-backing-filename", "")
    return Header(
        told["virtual-size"], told["actual-size"], backing, told.get("backing-filename-format", "") if backing else ""
    )


@pytest.mark.parametrize(
    "options",
    [
        ("-f", "raw"),
        ("-f", "qcow2"),
        ("-f", "qcow2", "-o", "cluster_size=4k"),
        ("-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k"),
        ("-f", "qcow2", "-o", "compression_type=zstd,preallocation=metadata"),
    ],
    ids=str,
)
async def test_it_says_what_qemu_img_says(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = make(tmp_path / "a: disk, of sorts", *options)
    assert read_header(path, options[1]) == await by_qemu_img(path, options[1])


async def test_a_linked_clone_says_what_it_stands_on(tmp_path: Path) -> None:
    base = make(tmp_path / "base.raw", "-f", "raw")
    path = make(tmp_path / "clone", "-f", "qcow2", "-b", str(base), "-F", "raw")
    found = read_header(path, "qcow2")
    assert found == await by_qemu_img(path, "qcow2")
    assert found is not None
    assert (found.backing_file, found.backing_format) == (str(base), "raw")


@pytest.mark.parametrize(
    "options",
    [("-o", "compat=0.10"), ("-o", "data_file={}/data,data_file_raw=on"), ("-b", "base.raw", "-F", "raw")],
    ids=["old", "data elsewhere", "a relative name"],
)
def test_what_is_out_of_the_ordinary_is_left_to_qemu_img(tmp_path: Path, options: tuple[str, ...]) -> None:
    make(tmp_path / "base.raw", "-f", "raw")
    path = make(tmp_path / "odd", "-f", "qcow2", *(each.format(tmp_path) for each in options))
    assert read_header(path, "qcow2") is None


@pytest.mark.parametrize(
    ("offset", "content"),
    [(0, b"QEMU"), (20, struct.pack(">I", 60)), (40, struct.pack(">Q", 1 << 40)), (79, b"\x01"), (79, b"\x02")],
    ids=["no magic", "huge clusters", "a table beyond the end", "dirty", "corrupt"],
)
def test_what_is_damaged_is_left_to_qemu_img(tmp_path: Path, offset: int, content: bytes) -> None:
    path = make(tmp_path / "damaged", "-f", "qcow2")
    patch(path, offset, content)
    assert read_header(path, "qcow2") is None


@pytest.mark.parametrize("length", [0, 4, 71, 103, 70_000])
def test_what_is_cut_off_is_left_to_qemu_img(tmp_path: Path, length: int) -> None:
    path = make(tmp_path / "cut", "-f", "qcow2")
    with path.open("r+b") as file:
        file.truncate(length)
    assert read_header(path, "qcow2") is None


def test_what_is_no_file_of_whole_sectors_is_left_to_qemu_img(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"x" * 513)
    assert read_header(tmp_path / "odd", "raw") is None
    assert read_header(tmp_path / "gone", "raw") is None
    assert read_header(Path("/dev/null"), "raw") is None
    assert read_header(tmp_path / "odd", "vmdk") is None
