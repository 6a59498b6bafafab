"""The installer's initramfs: busybox, zstd, the drivers and our ``init``, packed by cpio.

Runs inside the build's namespace; everything comes out of the guest's root, nothing from the build host.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from vmd.installer.command import run
from vmd.installer.root import EPOCH, GUEST_FILES

PROGRAMS = ("/usr/bin/zstd",)
"""What the installer needs before it has the guest's root, besides busybox."""


def build(root: Path, tree: Path, settings: Mapping[str, str], output: Path) -> None:
    """Make in ``tree`` the initramfs that installs ``root``, and pack it; ``settings`` become variables of init."""
    (tree / "bin").mkdir(parents=True)
    shutil.copyfile(root / "usr/bin/busybox", tree / "bin/busybox")
    for name in ("init", "seed.sh", "partitions"):
        shutil.copyfile(GUEST_FILES / name, tree / name)
    for path in (tree / "init", tree / "bin/busybox"):
        path.chmod(0o755)
    _copy_programs(root, tree)
    _copy_modules(root, tree / "modules")
    (tree / "taken-users").write_text(taken_users((root / "etc/passwd").read_text()))
    lines = [f"{name}='{value}'\n" for name, value in settings.items()]
    (tree / "installer.conf").write_text("".join(lines))
    pack(tree, output)


def pack(tree: Path, output: Path) -> None:
    """Pack ``tree`` as the kernel wants it; the same files give the same bytes."""
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    archive = output.with_suffix(".cpio")
    run(
        *("cpio", "--create", "--format=newc", "--owner=0:0", "--reproducible", "--quiet", f"--file={archive}"),
        stdin="".join(f"{name}\n" for name in names),
        cwd=tree,
    )
    run("zstd", "-19", "--quiet", "--threads=0", "--rm", "--force", archive, "-o", output)


def kernel_version(root: Path) -> str:
    """The version of the one kernel in ``root``."""
    (modules,) = (root / "usr/lib/modules").iterdir()
    return modules.name


def load_order(shown: str) -> tuple[str, ...]:
    """Module files in the order to load them, from ``modprobe --show-depends`` of several modules."""
    return tuple(dict.fromkeys(re.findall(r"^insmod (\S+)", shown, re.MULTILINE)))


def libraries(shown: str) -> tuple[str, ...]:
    """The files that ``ldd`` of one or more programs lists, the dynamic loader among them."""
    return tuple(dict.fromkeys(re.findall(r"(?:=> |^\s)(/\S+) \(0x", shown, re.MULTILINE)))


def taken_users(passwd: str) -> str:
    """The names in a passwd file, one a line."""
    return "".join(f"{line.split(':')[0]}\n" for line in passwd.splitlines())


def wanted_modules() -> tuple[str, ...]:
    """The drivers listed for the installer."""
    lines = (GUEST_FILES / "installer.modules").read_text().splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def _copy_programs(root: Path, tree: Path) -> None:
    for name in (*PROGRAMS, *libraries(run("chroot", root, "ldd", *PROGRAMS))):
        target = tree / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        # resolved in there: Debian 12's /lib64/ld-linux-x86-64.so.2 is an absolute link, and would lead to the host's
        real = run("chroot", root, "realpath", name).strip()
        shutil.copyfile(root / real.lstrip("/"), target)
        target.chmod(0o755)


def _copy_modules(root: Path, target: Path) -> None:
    target.mkdir()
    version = kernel_version(root)
    shown = run("chroot", root, "modprobe", "--set-version", version, "--show-depends", "--all", *wanted_modules())
    order = []
    for name in load_order(shown):
        content = (root / name.lstrip("/")).read_bytes()
        order.append(Path(name).name.removesuffix(".xz"))
        (target / order[-1]).write_bytes(lzma.decompress(content) if name.endswith(".xz") else content)
    (target / "order").write_text("".join(f"{name}\n" for name in order))
