"""The router that packaging/router makes, and each of config/routers.yaml's: booted to a shell, and led down."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import select
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import router
from tests.daemon.conftest import open_to_all
from tests.daemon.house import Done, Vmd, at_console
from tests.host.test_image import elf

EXAMPLES = router.ROOT / "config/routers.yaml"
UBOOT = Path("/usr/lib/u-boot/maltael/u-boot.bin")
LIMIT = "100s"

pytestmark = [pytest.mark.boot, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def files() -> Path:
    if not shutil.which("qemu-system-mipsel"):
        pytest.skip("qemu-system-mipsel is not installed: apt install qemu-system-mips")
    return router.made()


@pytest.fixture(scope="module")
def vmd(files: Path) -> Iterator[Vmd]:
    """A vmd with the examples as they are shipped."""
    place = open_to_all()
    vmd = Vmd(place)
    shutil.copy(EXAMPLES, vmd.fleet)
    (vmd.fleet / "router").symlink_to(files)
    with vmd.running():
        yield vmd
    shutil.rmtree(place)


def up(vmd: Vmd, name: str, rung: str = "ssh") -> None:
    done = vmd.ctl("up", name, "--wait", rung, "--timeout", LIMIT)
    assert done.code == 0, done.err + log(vmd, name)


def down(vmd: Vmd, name: str) -> str:
    """Lead it down; return the rung that worked."""
    done = vmd.ctl("down", name, "--json")
    assert done.code == 0, done.err
    (rung,) = (event["rung"] for event in done.events if event["event"] == "ladder")
    return str(rung)


def log(vmd: Vmd, name: str) -> str:
    return vmd.ctl("log", name).out[-3000:]


def said(vmd: Vmd, name: str, command: str) -> str:
    """What a command says at a guest's console."""
    with at_console(vmd, name, "--raw") as console:
        console.type("\n")
        console.expect(b"# ")  # what is typed before there is a shell is lost
        console.type(f"echo BE''GIN; {command}; echo E''ND\n")
        console.expect(b"BEGIN")
        text = console.expect(b"END").decode()
        console.leave()
    return text.removesuffix("END").strip()


# -- what is made


def test_the_root_fits_a_router(files: Path) -> None:
    assert (files / "rootfs.squashfs").stat().st_size <= 8 << 20


def test_what_is_there_is_not_made_again(files: Path) -> None:
    before = (files / "rootfs.squashfs").stat()
    done = subprocess.run((router.MAKE, files), capture_output=True, text=True, check=True)
    assert "is up to date" in done.stdout
    assert (files / "rootfs.squashfs").stat() == before


# -- the examples


@pytest.mark.parametrize("name", ["cdrom", "ide", "virtio", "phram", "tftp"])
def test_an_example_boots_and_goes_by_ssh(vmd: Vmd, name: str) -> None:
    up(vmd, name)
    mounts = said(vmd, name, "cat /proc/mounts")
    root = {"cdrom": "sr0", "ide": "sda", "virtio": "vda", "phram": "mtdblock0", "tftp": "loop0"}[name]
    assert re.search(rf"^/dev/{root} / squashfs ro", mounts, re.MULTILINE), mounts
    assert down(vmd, name) == "ssh"
    assert "reboot: Power down" in log(vmd, name)


def test_the_seed_boots_to_a_shell_that_is_the_first_process(vmd: Vmd) -> None:
    up(vmd, "seed", "kernel")
    assert said(vmd, "seed", "echo $$") == "1"
    assert down(vmd, "seed") == "serial"


def test_an_initramfs_boots_to_a_shell(vmd: Vmd) -> None:
    up(vmd, "initramfs", "kernel")
    assert "squashfs" not in said(vmd, "initramfs", "cat /proc/mounts")
    assert down(vmd, "initramfs") == "serial"


@pytest.mark.skipif(not UBOOT.exists(), reason="there is no U-Boot for malta: apt install u-boot-qemu")
def test_the_board_s_own_way_by_uboot(vmd: Vmd) -> None:
    up(vmd, "uboot")
    assert "/dev/mtdblock0 / squashfs" in said(vmd, "uboot", "cat /proc/mounts")
    typed = [line for line in vmd.ctl("uboot", "uboot").out.splitlines() if line.startswith(("tftp", "bootm"))]
    heard = log_of_uboot(vmd)
    for line in typed:
        assert line.replace("tftp ", "tftpboot ") in heard, line
    assert down(vmd, "uboot") in ("ssh", "serial")


def log_of_uboot(vmd: Vmd) -> str:
    return vmd.ctl("log", "uboot").out.replace("\r", "")


def test_memory_that_is_held_back_stays_as_it_is_when_memory_gets_scarce(vmd: Vmd, files: Path) -> None:
    """Without memmap= it boots as well, and this is where it shows."""
    up(vmd, "phram")
    size = (files / "rootfs.squashfs").stat().st_size
    most = "$(awk '/MemAvailable/ {print int($2 * 0.7)}' /proc/meminfo)"  # more would wake the OOM killer
    fill = (
        f"dd if=/dev/zero of=/tmp/fill bs=1k count={most} 2>/dev/null; rm /tmp/fill; echo 3 >/proc/sys/vm/drop_caches"
    )
    digest = re.findall(r"\b[0-9a-f]{64}\b", said(vmd, "phram", f"{fill}; head -c {size} /dev/mtdblock0 | sha256sum"))
    assert digest == [hashlib.sha256((files / "rootfs.squashfs").read_bytes()).hexdigest()]
    assert down(vmd, "phram") == "ssh"


def synced(argv: tuple[str, ...]) -> str:
    """Run rsync until its server answers: QEMU's NAT takes a connection before the router listens."""
    for _ in range(40):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode not in {10, 12}:  # socket I/O, and a stream that ended at once (rsync(1))
            break
        select.select([], [], [], 0.5)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_backed_up_to_a_router_is_there_after_its_next_boot(vmd: Vmd, tmp_path: Path) -> None:
    if not shutil.which("rsync"):
        pytest.skip("rsync is not installed")
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(os.urandom(300_000))
    up(vmd, "backup")
    argv = ("rsync", "-a", "--checksum", "--itemize-changes", f"{tmp_path}/", "rsync://127.0.0.1:8730/backup/")
    assert "one" in synced(argv)
    assert down(vmd, "backup") == "ssh"
    up(vmd, "backup")
    again = synced((*argv[:4], "--dry-run", *argv[4:]))
    assert [line for line in again.splitlines() if line.endswith(("one", "two"))] == []
    assert down(vmd, "backup") == "ssh"


# -- images that are no examples


def define(vmd: Vmd, name: str, boot: str, more: str = "") -> None:
    text = f"guests:\n  {name}: {{machine: malta, memory: 64M, boot: {{initrd: router/initrd.gz, {boot}}}{more}}}\n"
    vmd.define(text, f"{name}.yaml")


def refused(vmd: Vmd, name: str) -> str:
    done: Done = vmd.ctl("up", name)
    assert done.code == 1
    assert not (vmd.guest(name) / "console.log").exists()
    return done.err


def test_images_as_openwrt_ships_them_boot(vmd: Vmd, files: Path) -> None:
    """Packed, with metadata behind, and of no whole number of sectors."""
    made = vmd.root / "openwrt"
    made.mkdir()
    odd = (files / "rootfs.squashfs").read_bytes() + bytes(700)
    (made / "root.img.gz").write_bytes(gzip.compress(odd, 1) + b"FWx0 metadata")
    (made / "vmlinux.gz").write_bytes(gzip.compress((files / "vmlinuz").read_bytes(), 1))
    before = [path.read_bytes() for path in sorted(made.iterdir())]
    for root in ("cdrom", "disk"):
        name = f"packed-{root}"
        define(vmd, name, f"kernel: {made}/vmlinux.gz, rootfs: {made}/root.img.gz, root: {root}")
        up(vmd, name)
        assert down(vmd, name) == "ssh"
    assert [path.read_bytes() for path in sorted(made.iterdir())] == before


def test_a_kernel_of_the_other_byte_order_is_told_before_qemu_is_started(vmd: Vmd) -> None:
    define(vmd, "other", "kernel: router/vmlinuz, rootfs: router/rootfs.squashfs", ", arch: mips")
    assert "is for mipsel, and the guest is mips" in refused(vmd, "other")


def test_a_squashfs_that_is_cut_short_is_told(vmd: Vmd, files: Path) -> None:
    (vmd.root / "short.squashfs").write_bytes((files / "rootfs.squashfs").read_bytes()[: 1 << 20])
    define(vmd, "short", f"kernel: router/vmlinuz, rootfs: {vmd.root}/short.squashfs")
    assert "short.squashfs is cut short" in refused(vmd, "short")


def test_an_image_larger_than_memory_is_told(vmd: Vmd, files: Path) -> None:
    large = vmd.root / "large.squashfs"
    shutil.copy(files / "rootfs.squashfs", large)
    os.truncate(large, 100 << 20)
    root = "root: {phram: {address: 0x2000000, size: 9M}}"
    define(vmd, "large", f"kernel: router/vmlinuz, rootfs: {large}, {root}")
    assert "has 104857600 bytes" in refused(vmd, "large")


def test_a_uimage_is_told(vmd: Vmd) -> None:
    define(vmd, "uimage", "kernel: router/vmlinuz.uimage, rootfs: router/rootfs.squashfs")
    assert "is a uImage, made for U-Boot ('Linux') for mips" in refused(vmd, "uimage")


def test_a_squashfs_that_is_broken_inside_says_so_on_the_console(vmd: Vmd, files: Path) -> None:
    data = bytearray((files / "rootfs.squashfs").read_bytes())
    data[100 : len(data) - 100] = bytes(len(data) - 200)
    (vmd.root / "broken.squashfs").write_bytes(data)
    define(vmd, "broken", f"kernel: router/vmlinuz, rootfs: {vmd.root}/broken.squashfs")
    up(vmd, "broken", "kernel")
    assert reaches(vmd, "broken", b"can't mount /dev/sr0")
    assert down(vmd, "broken") == "serial"


def reaches(vmd: Vmd, name: str, words: bytes) -> bool:
    with at_console(vmd, name) as console:
        console.expect(words)
    return True


def test_a_kernel_that_panics_is_shown_and_ended(vmd: Vmd) -> None:
    define(vmd, "panic", "kernel: router/vmlinuz, rootfs: router/rootfs.squashfs, cmdline: init=/nothing panic=0")
    up(vmd, "panic", "kernel")
    assert reaches(vmd, "panic", b"Kernel panic - not syncing")
    late = vmd.ctl("wait", "panic", "--for", "ssh", "--timeout", "2s")
    assert late.code == 5
    assert "Kernel panic" in late.err
    assert vmd.ctl("down", "panic", "--timeout", "1s").code == 0


def test_a_kernel_that_says_nothing_is_told_when_its_time_is_over(vmd: Vmd) -> None:
    (vmd.root / "mute").write_bytes(elf(code=struct.pack("<2I", 0x1000FFFF, 0)))  # b . and its delay slot
    define(vmd, "mute", f"kernel: {vmd.root}/mute")
    done = vmd.ctl("up", "mute", "--timeout", "10s")
    assert done.code == 5
    assert "it has said nothing" in done.err
    assert vmd.ctl("down", "mute", "--timeout", "1s").code == 0


# -- kernels of one's own


def test_a_kernel_with_all_built_in_boots_the_seed_s_line(vmd: Vmd) -> None:
    built = router.kernel("mipsel")
    boot = f"kernel: {built}, rootfs: router/rootfs.squashfs, cmdline: root=/dev/sr0 console=ttyS0 init=/bin/sh"
    vmd.define(f"guests:\n  own: {{machine: malta, memory: 64M, boot: {{{boot}}}}}\n", "own.yaml")
    up(vmd, "own", "kernel")
    assert said(vmd, "own", "echo $$") == "1"
    assert down(vmd, "own") == "serial"


INIT = """
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>
int main(void) {
    union { int number; char bytes[sizeof(int)]; } order = {1};
    printf("big-endian: %s\\n", order.bytes[0] ? "no" : "yes");
    fflush(stdout);
    sleep(1);
    reboot(RB_POWER_OFF);
    pause();
}
"""


@pytest.mark.parametrize(
    ("name", "root"),
    {"big-cd": "cdrom", "big-disk": "disk", "big-phram": "{phram: {address: 0x1178000, size: 9M}}"}.items(),
)
def test_a_big_endian_board_boots(vmd: Vmd, name: str, root: str) -> None:
    built = router.kernel("mips")
    if not shutil.which("mips-linux-gnu-gcc"):
        pytest.skip("there is no compiler for mips: apt install gcc-mips-linux-gnu libc6-dev-mips-cross")
    tree = vmd.root / "big"
    for directory in ("sbin", "dev", "proc", "sys"):
        (tree / directory).mkdir(parents=True, exist_ok=True)
    compiler = ("mips-linux-gnu-gcc", "-static", "-Os", "-x", "c", "-", "-o", tree / "sbin/init")
    subprocess.run(compiler, input=INIT.encode(), check=True)
    image = vmd.root / "big.squashfs"
    pack = (shutil.which("mksquashfs") or "", tree, image, "-noappend", "-all-root", "-quiet", "-no-progress")
    subprocess.run(pack, check=True)
    boot = f"kernel: {built}, rootfs: {image}, root: {root}"
    vmd.define(f"guests:\n  {name}: {{machine: malta, arch: mips, memory: 64M, boot: {{{boot}}}}}\n", f"{name}.yaml")
    up(vmd, name, "kernel")
    assert vmd.heard("exit", guest=name, cause="powered-off")
    assert "big-endian: yes" in log(vmd, name)
