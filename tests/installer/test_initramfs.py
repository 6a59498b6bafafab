"""What goes into the installer's initramfs, and in which order."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vmd.installer import initramfs

SHOWN = """\
insmod /lib/modules/6.1.0/kernel/drivers/virtio/virtio_ring.ko
insmod /lib/modules/6.1.0/kernel/drivers/virtio/virtio.ko
builtin ext4
insmod /lib/modules/6.1.0/kernel/drivers/block/virtio_blk.ko
insmod /lib/modules/6.1.0/kernel/drivers/virtio/virtio_ring.ko
insmod /lib/modules/6.1.0/kernel/drivers/virtio/virtio.ko
insmod /lib/modules/6.1.0/kernel/drivers/scsi/virtio_scsi.ko.xz some=option
"""

LDD = """\
/usr/bin/zstd:
\tlinux-vdso.so.1 (0x00007fb873108000)
\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007fb872fa7000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fb872d70000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007fb87310a000)
/usr/bin/sudo:
\tlibsudo_util.so.0 => /usr/libexec/sudo/libsudo_util.so.0 (0x00007f1c67ff3000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1c67e11000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f1c680c9000)
"""


def test_modules_are_loaded_after_what_they_need_and_once() -> None:
    names = [Path(name).name for name in initramfs.load_order(SHOWN)]
    assert names == ["virtio_ring.ko", "virtio.ko", "virtio_blk.ko", "virtio_scsi.ko.xz"]


def test_libraries_of_several_programs() -> None:
    assert initramfs.libraries(LDD) == (
        "/lib/x86_64-linux-gnu/libz.so.1",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/ld-linux-x86-64.so.2",
        "/usr/libexec/sudo/libsudo_util.so.0",
    )


def test_libraries_of_this_hosts_own_programs_exist() -> None:
    shown = subprocess.run(("/usr/bin/ldd", "/bin/sh"), check=True, capture_output=True, text=True).stdout
    found = initramfs.libraries(shown)
    assert any("libc" in name for name in found)
    assert all(Path(name).exists() for name in found)


def test_users_that_are_taken() -> None:
    assert initramfs.taken_users("root:x:0:0::/root:/bin/bash\nsshd:x:1:1::/:/bin/false\n") == "root\nsshd\n"


def test_wanted_modules_are_names() -> None:
    wanted = initramfs.wanted_modules()
    assert {"virtio_blk", "isofs", "vfat", "ext4"} <= set(wanted)
    assert all(name.replace("_", "").isalnum() for name in wanted)


@pytest.mark.skipif(not (shutil.which("cpio") and shutil.which("zstd")), reason="not installed: cpio zstd")
def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    for name, order in (("a", "xyz"), ("b", "zyx")):
        tree = tmp_path / name
        (tree / "dir").mkdir(parents=True)
        for file in order:
            (tree / "dir" / file).write_text(file)
        (tree / "link").symlink_to("dir/x")
        initramfs.pack(tree, tmp_path / f"{name}.img")
    assert (tmp_path / "a.img").read_bytes() == (tmp_path / "b.img").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.img", "b", "b.img"]
    assert listed(tmp_path / "a.img") == ["dir", "dir/x", "dir/y", "dir/z", "link"]


def listed(archive: Path) -> list[str]:
    plain = subprocess.run(("/usr/bin/zstd", "-dcq", str(archive)), check=True, capture_output=True).stdout
    done = subprocess.run(("/usr/bin/cpio", "-t", "--quiet"), input=plain, check=True, capture_output=True)
    return done.stdout.decode().split()
