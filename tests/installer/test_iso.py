"""The ISO, made by the real xorriso, and the key it carries."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vmd.installer import iso, loader

pytestmark = pytest.mark.skipif(
    not (shutil.which("xorriso") and shutil.which("grub-mkimage") and shutil.which("mformat"))
    or not (loader.MODULE_DIRECTORY / "i386-pc").exists()
    or not (loader.MODULE_DIRECTORY / "x86_64-efi").exists(),
    reason="not installed: xorriso mtools grub-common grub-pc-bin grub-efi-amd64-bin",
)

KEY = "debian-12-0123456789abcdef"


def make(directory: Path) -> Path:
    tree = directory / "tree"
    (tree / "vmd").mkdir(parents=True)
    for name in ("vmlinuz", "initrd.img", "disk.img.zst"):
        (tree / "vmd" / name).write_text(name)
    iso.build(tree, KEY, directory / "made.iso")
    return directory / "made.iso"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("iso"))


def report(image: Path, *words: str) -> str:
    done = subprocess.run(
        ("/usr/bin/xorriso", "-indev", str(image), *words), capture_output=True, text=True, check=True
    )
    return done.stdout


def test_it_says_by_which_recipe_it_was_made(made: Path) -> None:
    assert iso.key_of(made) == KEY


def test_it_boots_by_bios_and_by_uefi(made: Path) -> None:
    catalog = report(made, "-report_el_torito", "plain")
    images = [line.split() for line in catalog.splitlines() if line.startswith("El Torito boot img :")]
    assert [words[6] for words in images] == ["BIOS", "UEFI"]


def test_it_holds_what_grub_loads(made: Path) -> None:
    files = report(made, "-find", "/vmd", "-type", "f").replace("'", "").split()
    assert sorted(files) == ["/vmd/disk.img.zst", "/vmd/initrd.img", "/vmd/vmlinuz"]


def test_a_cut_image_has_no_key(made: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.iso"
    cut.write_bytes(made.read_bytes()[: -100 * 2048])
    assert iso.key_of(cut) == ""


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(1 << 20)])
def test_another_file_has_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert iso.key_of(path) == ""


def test_what_cannot_be_read_has_no_key(tmp_path: Path) -> None:
    assert iso.key_of(tmp_path / "nothing") == ""
    assert iso.key_of(tmp_path) == ""
