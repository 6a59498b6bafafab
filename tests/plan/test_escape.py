"""Any path an operator can write reaches QEMU as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from vmd.plan import cmdline
from vmd.plan.cmdline import Place, boot_line, install_line
from vmd.plan.option import Option
from vmd.plan.reconcile import IDE_CD

from .conftest import guest, place

# what files are called is bytes without / and NUL; a definition's paths are text on one line
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n/"), min_size=1).filter(
    lambda name: name not in (".", "..")
)
ROOTS = NAMES.map("/{}".format)
LOOKS_LIKE = st.sampled_from(
    ["json:{}", "fat:rw:x", "a,b", "a,,b", ",", "x,read-only=off", "nbd:h:1", "%s", '"', "\\"]
)


def parse(value: str) -> dict[str, str]:
    """Read an option as QEMU does: a comma ends a value, two are one (util/qemu-option.c, get_opt_value)."""
    parts = re.findall(r"((?:[^,]|,,)+)(?:,|$)", value)
    return dict(part.replace(",,", ",").partition("=")[::2] for part in parts)


def blockdevs(options: tuple[Option, ...]) -> Iterator[str]:
    """Every file and directory of the -blockdevs."""
    for option in options:
        if option.words[0] == "-blockdev":
            node = json.loads(option.words[1])
            yield node["dir"] if node["driver"] == "vvfat" else node["file"]["filename"]


def sockets(options: tuple[Option, ...]) -> Iterator[str]:
    for option in options:
        if option.words[0] == "-chardev":
            found = parse(option.words[1])
            yield from (found[key] for key in ("path", "logfile") if key in found)
        if option.words[0] == "-vnc":
            yield option.words[1].replace(",,", ",").removeprefix("unix:")


def paths(where: Place, log: str) -> set[str]:
    layout = where.layout
    return {layout.qmp, layout.monitor, layout.console, layout.agent, layout.vnc, log}


@settings(deadline=None)
@given(ROOTS | LOOKS_LIKE.map("/{}".format), NAMES | LOOKS_LIKE)
def test_a_started_guest(root: str, name: str) -> None:
    alice = guest(root, image="images/base", firmware="uefi", disk={"path": f"{root}/srv/{name}"})
    where = place(alice, root)
    line = boot_line(alice, where)
    assert where.host.firmware is not None
    firmware = [where.host.firmware.code, where.layout.firmware_vars]
    assert list(blockdevs(line)) == [*firmware, where.layout.disk, where.layout.seed]
    assert where.layout.disk == f"{root}/srv/{name}"
    assert set(sockets(line)) == paths(where, where.layout.console_log)


@settings(deadline=None)
@given(ROOTS | LOOKS_LIKE.map("/{}".format), NAMES | LOOKS_LIKE)
def test_an_install(root: str, name: str) -> None:
    alice = guest(root, disk="1G", install="mine")
    where = place(alice, root)
    line = install_line(alice, where, f"/{name}", IDE_CD)
    assert list(blockdevs(line)) == [where.layout.disk_tmp, where.layout.seed, f"/{name}"]
    assert set(sockets(line)) == paths(where, where.layout.install_log)


@settings(deadline=None)
@given(NAMES | LOOKS_LIKE, NAMES | LOOKS_LIKE)
def test_a_kernel_is_words_of_its_own(kernel: str, rootfs: str) -> None:
    """QEMU takes -kernel and -initrd whole: nothing is doubled there."""
    alice = guest(boot={"kernel": f"/{kernel}", "initrd": f"/{rootfs}", "rootfs": f"/{rootfs}"})
    where = place(alice)
    made = [option.words for option in cmdline.kernel(alice, where)]
    assert made[:2] == [("-kernel", f"/{kernel}"), ("-initrd", f"/{rootfs}")]
    assert list(blockdevs(tuple(cmdline.rootfs(alice, where)))) == [f"/{rootfs}"]
