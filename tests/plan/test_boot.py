"""Direct kernel boot: images that fit the board and its memory, what is made ready, and what U-Boot is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vmd.definition.guest import Guest
from vmd.errors import Refused, VmdError
from vmd.plan import uboot
from vmd.plan.image import Content, ImageFacts
from vmd.plan.kernel import command_line
from vmd.plan.memory import Piece, loaded
from vmd.plan.ready import MakeFlash, TypeCommands, UnpackImage
from vmd.plan.reconcile import up
from vmd.plan.step import MakeDisk, Start, Up

from .conftest import DIR, guest, place

M = 1 << 20
MALTA: dict[str, Any] = {"machine": "malta", "memory": "64M"}
PHRAM: dict[str, Any] = {"phram": {"address": 0x1178000, "size": "9M"}}
TFTP: dict[str, Any] = {"tftp": {"directory": ".", "uboot": "u-boot.bin"}}

VMLINUX = ImageFacts("elf", 6 * M, "mipsel", 5 * M, ((0x80100000, 0x80700000),), entry=0x80400000)
UIMAGE = ImageFacts("uimage", 2 * M, "mips", 2 * M, load=0x80060000, packing="gzip", name="MIPS OpenWrt")
SQUASHFS = ImageFacts("squashfs", 8 * M, needs=8 * M - 100)
EXT = ImageFacts("ext", 48 * M, content=Content(48 * M, "e" * 64))
UNKNOWN = ImageFacts("unknown", 5 * M)
INITRD = ImageFacts("gzip", 3 * M, inner=ImageFacts("cpio", 0))


def packed(inner: ImageFacts, size: int) -> ImageFacts:
    return ImageFacts("gzip", size // 3, inner=inner, content=Content(size, "c" * 64))


def router(root: Any = None, **written: Any) -> Guest:
    boot = {"kernel": "vmlinux", "rootfs": "root.img", "root": root, **written.pop("boot", {})}
    return guest(**{**MALTA, "boot": {key: value for key, value in boot.items() if value}, **written})


def plan(alice: Guest, kernel: ImageFacts = VMLINUX, rootfs: ImageFacts = SQUASHFS, **more: Any) -> tuple[Up, ...]:
    images = {"/srv/vmlinux": kernel, "/srv/root.img": rootfs, "/srv/initrd.gz": INITRD}
    return up(alice, None, place(alice, images=images, **more))


def line(steps: tuple[Up, ...]) -> str:
    (start,) = (step for step in steps if isinstance(step, Start))
    return " ".join(word for option in start.options for word in option.words)


# -- what a file is


REFUSED: dict[str, tuple[dict[str, Any], ImageFacts, ImageFacts]] = {
    r"arch: /srv/vmlinux is for mips, and the guest is mipsel; write arch: mips$": (
        {},
        ImageFacts("elf", M, "mips"),
        SQUASHFS,
    ),
    r"arch: .* is for mipsel, and the guest is mips; write arch: mipsel$": ({"arch": "mips"}, VMLINUX, SQUASHFS),
    r"arch: .* is for mips64el, and the guest is mipsel; write arch: mips64el$": (
        {},
        ImageFacts("elf", M, "mips64el"),
        SQUASHFS,
    ),
    r"arch: .* is for x86_64, and .* mipsel; name a kernel for mipsel$": (
        {},
        ImageFacts("elf", M, "x86_64"),
        SQUASHFS,
    ),
    r"boot.kernel: .* is a uImage, made for U-Boot \('MIPS OpenWrt'\) for mips: no kernel that malta's QEMU takes": (
        {},
        UIMAGE,
        SQUASHFS,
    ),
    r"boot.kernel: .* is a TRX, a whole firmware": ({}, ImageFacts("trx", M), SQUASHFS),
    r"boot.kernel: .* is nothing that vmd knows .*; a raw kernel has no header": ({}, UNKNOWN, SQUASHFS),
    r"boot.kernel: .* is packed by gzip, with nothing that vmd knows .*; a raw kernel": (
        {},
        packed(ImageFacts("unknown", 0), M),
        SQUASHFS,
    ),
    r"boot.kernel: .* is a squashfs.*; name it as rootfs": ({}, SQUASHFS, SQUASHFS),
    r"boot.kernel: .* is an empty file": ({}, ImageFacts("empty", 0), SQUASHFS),
    r"boot.kernel: .* is packed by xz.*vmd unpacks gzip alone": ({}, ImageFacts("xz", M), SQUASHFS),
    r"boot.kernel: .* is cut short: its header says 5242880 bytes, and it has 1048576; copy it again": (
        {},
        ImageFacts("elf", M, "mipsel", 5 * M),
        SQUASHFS,
    ),
    r"boot.rootfs: .* is an ELF program for mipsel.*; did you mean kernel": ({}, VMLINUX, VMLINUX),
    r"boot.rootfs: .* is cut short: its header says 8388608 bytes, and it has 1048576": (
        {},
        VMLINUX,
        ImageFacts("squashfs", M, needs=8 * M),
    ),
    r"boot.rootfs: .* is a squashfs of before 4.0": ({}, VMLINUX, ImageFacts("squashfs-3", M)),
    r"boot.rootfs: .* is packed by zstd; unpack it": ({}, VMLINUX, ImageFacts("zstd", M)),
    r"boot.rootfs: .* is an empty file": ({}, VMLINUX, ImageFacts("empty", 0)),
}


@pytest.mark.parametrize(("words", "case"), REFUSED.items(), ids=range(len(REFUSED)))
def test_a_file_that_can_t_be_is_told_by_its_key(
    words: str, case: tuple[dict[str, Any], ImageFacts, ImageFacts]
) -> None:
    written, kernel, rootfs = case
    with pytest.raises(Refused) as caught:
        plan(router(**written), kernel, rootfs)
    assert re.search(f"^alice: {words}", str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("written", "kernel"),
    [
        ({"arch": "mips64el"}, VMLINUX),
        ({}, packed(VMLINUX, 6 * M)),
        ({"machine": "virt", "arch": "aarch64"}, ImageFacts("arm64", M, "aarch64")),
        ({"machine": "virt", "arch": "aarch64"}, packed(ImageFacts("arm64", 0, "aarch64"), M)),
        ({"machine": "virt", "arch": "arm"}, ImageFacts("uimage", M, "arm")),
        ({"machine": "virt", "arch": "arm"}, ImageFacts("zimage", M, "arm")),
        ({"machine": "q35"}, ImageFacts("bzimage", M, "x86_64")),
    ],
)
def test_a_kernel_that_the_board_takes_is_taken(written: dict[str, Any], kernel: ImageFacts) -> None:
    assert line(plan(router(**written), kernel))


def test_an_initrd_that_is_a_file_system_is_told() -> None:
    alice = router(boot={"initrd": "root.img"})
    with pytest.raises(Refused, match=r"boot\.initrd: /srv/root\.img is a squashfs, no initramfs"):
        plan(alice)


def test_a_file_that_nobody_looked_into_is_taken_as_it_is() -> None:
    assert up(router(), None, place(router()))


# -- made ready


def test_an_image_as_it_should_be_is_used_as_it_is() -> None:
    steps = plan(router())
    assert [type(step) for step in steps] == [Start]
    assert '"filename": "/srv/root.img", "read-only": true' in line(steps)


def test_a_packed_image_is_unpacked_and_kept_by_its_content() -> None:
    made = f"{DIR}/images/{'c' * 32}.img"
    steps = plan(router("cdrom"), rootfs=packed(SQUASHFS, 8 * M))
    assert steps[0] == UnpackImage("/srv/root.img", made)
    assert f'"filename": "{made}"' in line(steps)
    assert "/srv/root.img" not in line(steps)
    again = plan(router("cdrom"), rootfs=packed(SQUASHFS, 8 * M), made=frozenset({made}))
    assert [type(step) for step in again] == [Start]


@pytest.mark.parametrize(("root", "size", "padded"), [("cdrom", 4096, False), ("cdrom", 4608, True)])
def test_a_cd_of_no_whole_sectors_is_padded(root: str, size: int, padded: bool) -> None:
    rootfs = ImageFacts("squashfs", size, content=Content(size, "a" * 64))
    assert any(isinstance(step, UnpackImage) for step in plan(router(root), rootfs=rootfs)) is padded


def test_a_disk_is_a_clone_that_the_guest_may_write() -> None:
    steps = plan(router("disk"), rootfs=EXT)
    clone = f"{DIR}/images/{'e' * 32}.qcow2"
    assert steps[0] == MakeDisk(clone, 48 * M, "qcow2", "/srv/root.img", "raw")
    assert f'"filename": "{clone}", "read-only": false' in line(steps)
    assert "root=/dev/sda ro" in line(steps)


def test_a_disk_of_no_whole_sectors_is_a_clone_of_a_padded_one() -> None:
    rootfs = ImageFacts("squashfs", 1000, content=Content(1000, "b" * 64))
    first, second, *_ = plan(router("disk"), rootfs=rootfs)
    made = f"{DIR}/images/{'b' * 32}"
    assert first == UnpackImage("/srv/root.img", f"{made}.img")
    assert second == MakeDisk(f"{made}.qcow2", 4096, "qcow2", f"{made}.img", "raw")


@pytest.mark.parametrize(
    ("bus", "disk", "device"),
    [
        (None, None, "sda"),
        ("virtio", None, "vda"),
        ("virtio", "ide", "vda"),
        ("scsi", "ide", "sdb"),
        (None, "virtio", "vdb"),
    ],
)
def test_linux_names_the_disk(bus: str | None, disk: str | None, device: str) -> None:
    more = {"disk": {"size": "1G", "bus": disk}} if disk else {}
    assert f"root=/dev/{device} ro" in line(plan(router("disk", boot={"bus": bus}, **more), rootfs=EXT))


# -- in memory


def test_the_rehearsal_is_the_one_of_the_board() -> None:
    words = line(plan(router(PHRAM, boot={"cmdline": "console=ttyATH0,250000 panic=10"})))
    assert "-device loader,file=/srv/root.img,addr=0x1178000,force-raw=on" in words
    expected = (
        "-append memmap=0x900000$0x1178000 phram.phram=phram,0x1178000,0x900000 mtdparts=phram:0x900000(rootfs) "
        "nokaslr root=/dev/mtdblock0 rootfstype=squashfs ro console=ttyATH0,250000 panic=10"
    )
    assert expected in words


@pytest.mark.parametrize("address", [0x1178000, 0x81178000, 0xA1178000, "0x1178000", "0xffffffff81178000"])
def test_one_place_has_several_addresses(address: Any) -> None:
    alice = router({"phram": {"address": address, "size": "9M"}})
    assert "memmap=0x900000$0x1178000" in command_line(alice, {})


def test_what_lies_in_memory() -> None:
    alice = router(PHRAM, boot={"initrd": "initrd.gz"})
    images = {"/srv/vmlinux": VMLINUX, "/srv/initrd.gz": ImageFacts("gzip", 3054044)}
    # where QEMU 7.2 really puts an initrd of this size: "Initial ramdisk at: 0x83d00000"
    assert list(loaded(alice, images)) == [
        Piece("the kernel", 0, 0x700000),
        Piece("the initrd", 0x3D00000, 0x3D00000 + 3054044),
        Piece("the rootfs", 0x1178000, 0x1A78000),
    ]


@pytest.mark.parametrize(
    ("address", "size", "kernel_end", "words"),
    [
        (0x600000, "9M", 0x700000, "the kernel has 0x0 to 0x700000, and the rootfs has 0x600000 to 0xf00000"),
        (
            0x3000000,
            "16M",
            0x700000,
            "the initrd has 0x3ce0000 to 0x3fe0000, and the rootfs has 0x3000000 to 0x4000000",
        ),
        (0x1178000, "9M", 0x1A9DB80, "the kernel has 0x0 to 0x1a9db80, and the rootfs has 0x1178000 to 0x1a78000"),
    ],
)
def test_two_things_in_one_place_are_told_with_numbers(address: int, size: str, kernel_end: int, words: str) -> None:
    alice = router({"phram": {"address": address, "size": size}}, boot={"initrd": "initrd.gz"})
    kernel = ImageFacts("elf", M, "mipsel", 0, ((0x80100000, 0x80000000 + kernel_end),))
    with pytest.raises(Refused) as caught:
        plan(alice, kernel)
    assert words in caught.value.message
    elsewhere = re.search(r"write address: (0x[0-9a-f]+)", caught.value.hint)
    assert elsewhere, caught.value.hint
    assert plan(
        router({"phram": {"address": elsewhere[1], "size": size}}, boot={"initrd": "initrd.gz"}),
        kernel,
    )


def test_an_image_larger_than_its_room_is_told_by_how_much() -> None:
    with pytest.raises(Refused, match="has 10485760 bytes, 1048576 more than the 9M it is given; write 10M or more"):
        plan(router(PHRAM), rootfs=ImageFacts("squashfs", 10 * M, needs=10 * M))


def test_an_image_that_fits_packed_alone_is_told_too() -> None:
    with pytest.raises(Refused, match="has 10485760 bytes"):
        plan(router(PHRAM), rootfs=packed(SQUASHFS, 10 * M))


def test_memory_that_is_too_small_for_the_kernel_is_told() -> None:
    alice = router({"phram": {"address": 0, "size": "1M"}}, memory="16M")
    with pytest.raises(Refused, match="the kernel has 0x0 to 0x1a9db80, and its memory ends at 0x1000000"):
        plan(alice, ImageFacts("elf", M, "mipsel", 0, ((0x810F0000, 0x81A9DB80),)), ImageFacts("squashfs", M))


# -- U-Boot


def test_a_uboot_is_put_into_the_flash_and_told_what_to_do() -> None:
    alice = router({**PHRAM, **TFTP}, memory="256M", boot={"initrd": "initrd.gz"})
    flash, start, told = plan(alice, UIMAGE)
    assert flash == MakeFlash("/srv/u-boot.bin", f"{DIR}/flash.img", 4 * M, swapped=True)
    assert isinstance(start, Start)
    assert f"-bios {DIR}/flash.img" in line((start,))
    assert "-kernel" not in line((start,))
    assert ",tftp=/srv,bootfile=vmlinux" in line((start,))
    assert isinstance(told, TypeCommands)
    assert told.commands[0] == "setenv autoload no; dhcp"
    assert told.commands[-4:] == (
        "tftpboot 0x81178000 root.img",
        "tftpboot 0x8f500000 initrd.gz",
        "tftpboot 0x8f300000 vmlinux",
        "bootm 0x8f300000",
    )
    assert max(map(len, told.commands)) < 256
    typed = " ".join(re.findall(r"'([^']*)'", " ".join(told.commands)))
    assert typed.startswith("rd_start=0x8f500000 rd_size=3145728 mem=256M console=ttyS0 memmap=0x900000$0x1178000")


def test_a_big_endian_flash_is_not_swapped() -> None:
    flash, *_ = plan(router({**PHRAM, **TFTP}, arch="mips"), UIMAGE)
    assert isinstance(flash, MakeFlash)
    assert not flash.swapped


def test_an_elf_is_no_kernel_for_bootm() -> None:
    with pytest.raises(Refused, match="no kernel that U-Boot's bootm takes; make a uImage"):
        plan(router({**PHRAM, **TFTP}))


def test_what_has_no_room_at_uboot_is_told() -> None:
    alice = router({"phram": {"address": 0x2000000, "size": "30M"}, **TFTP}, boot={"initrd": "initrd.gz"})
    with pytest.raises(Refused, match=r"there is no room for|they overlap"):
        plan(alice, ImageFacts("uimage", 30 * M, "mips", load=0x80060000, packing="none"))


def test_the_lines_for_the_real_board() -> None:
    alice = router(PHRAM, boot={"cmdline": "console=ttyATH0,250000"}, arch="mips")
    images = {"/srv/vmlinux": UIMAGE, "/srv/root.img": SQUASHFS}
    assert uboot.lines(alice, images) == (
        "# alice: first setenv ipaddr and serverip; the files are on that server",
        "setenv bootargs 'memmap=0x900000$0x1178000 phram.phram=phram,0x1178000,0x900000 "
        "mtdparts=phram:0x900000(rootfs) nokaslr root=/dev/mtdblock0 rootfstype=squashfs ro console=ttyATH0,250000'",
        "tftp 0x81178000 root.img",
        "tftp 0x83600000 vmlinux",
        "bootm 0x83600000",
    )


def test_an_elf_for_the_real_board_is_converted_first() -> None:
    lines = uboot.lines(router(PHRAM), {"/srv/vmlinux": VMLINUX})
    assert "-a 0x80100000 -e 0x80400000" in lines[2]
    assert lines[-2].endswith("vmlinux.uimage")


def test_a_guest_that_no_uboot_could_start_has_no_lines() -> None:
    with pytest.raises(VmdError, match=r"alice: boot\.root: only an image in memory"):
        uboot.lines(router("cdrom"), {})


# -- over the network


def test_a_kernel_that_fetches_its_root_is_told_which() -> None:
    words = line(plan(router({"tftp": {"directory": "/"}})))
    assert "ip=dhcp root=tftp:srv/root.img ro" in words
    assert "tftp=/,bootfile=srv/vmlinux" in words


def test_what_an_operator_writes_is_his() -> None:
    alice = router("cdrom", boot={"cmdline": "root=/dev/sr1 console=ttyS0,115200n8r init=/bin/sh"})
    assert command_line(alice, {}) == "root=/dev/sr1 console=ttyS0,115200n8r init=/bin/sh"
