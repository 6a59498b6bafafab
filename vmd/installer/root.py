"""The guest's root file system: Debian's packages by mmdebstrap, and the few files that make it a guest of ours.

Runs inside the build's namespace, as its root.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from vmd.errors import CommandFailed
from vmd.installer.command import environment, run

GUEST_FILES = Path(__file__).parent / "guest"
"""What goes into the guest and into the installer, as it is."""

CODENAMES = {"debian-12": "bookworm", "debian-13": "trixie"}
"""Debian's own name for each release that can be installed."""

PACKAGES = (
    *("systemd-sysv", "systemd-resolved", "systemd-timesyncd", "udev", "dbus"),
    *("linux-image-cloud-amd64", "initramfs-tools", "e2fsprogs", "fdisk"),
    *("busybox-static", "zstd"),  # the installer runs on them, too
    *("iproute2", "iputils-ping", "netbase", "ca-certificates"),
    *("openssh-server", "sudo", "qemu-guest-agent"),
)
"""What every guest has besides Debian's required packages; nothing that is merely recommended comes along."""

EXTRA_PACKAGES = {"debian-13": ("systemd-repart",)}  # a part of systemd itself until Debian 12
EXTRA_FILES = {"debian-13": {"sshd-13.conf": "etc/ssh/sshd_config.d/vmd-penalties.conf"}}  # OpenSSH 9.8 and later

BEFORE_PACKAGES = {
    "initramfs.conf": "etc/initramfs-tools/conf.d/vmd",
    "initramfs.modules": "usr/share/initramfs-tools/modules.d/vmd",
}
"""Files of ours that the kernel's installation reads, so that the guest's initramfs is made once only."""

AFTER_PACKAGES = {
    "dhcp.network": "etc/systemd/network/99-dhcp.network",
    "repart.conf": "etc/repart.d/50-root.conf",
    "sshd.conf": "etc/ssh/sshd_config.d/vmd.conf",
    "fstab": "etc/fstab",
    "grub.cfg": "boot/grub/grub.cfg",
}
"""Files of ours that packages must not find there before them."""

ENABLED = ("systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service", "ssh.service")
DISABLED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),  # all fire at boot
    "e2scrub_reap.service",  # LVM only
    "systemd-networkd-wait-online.service",  # would wait two minutes on a segment without DHCP
    "systemd-pstore.service",
)

MASKED = (
    "system-generators/systemd-gpt-auto-generator",  # fstab says what is mounted
    "system-generators/systemd-ssh-generator",  # complains on the console where there is no VSOCK
    "system-generators/systemd-tpm2-generator",
)
"""Parts of systemd that are of no use to a guest and cost each boot something, under /etc/systemd."""

_WITHOUT = (
    *("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"),
    # names of keyboards and cards that no virtual machine has: 10 MB, and 13 compiled
    *("/lib/udev/hwdb.d/*", "/usr/lib/udev/hwdb.d/*"),
)
_LEFT_BEHIND = (
    # the build host's, or unlike Debian's own defaults
    *("etc/hostname", "etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"),
    # the same for every guest otherwise
    *("etc/ssh/ssh_host_*_key*", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed"),
    # mentions of the build
    *("var/log/*.log", "var/log/apt/*", "var/cache/apt/*.bin", "var/cache/ldconfig/aux-cache"),
    *("var/cache/debconf/*-old", "vmlinuz.old", "initrd.img.old"),
)


def packages(release: str) -> tuple[str, ...]:
    """Every package that is asked for by name, for one of :data:`CODENAMES`."""
    return PACKAGES + EXTRA_PACKAGES.get(release, ())


def bootstrap_argv(release: str, root: Path, before: Path, sources: Iterable[str]) -> tuple[str, ...]:
    """The mmdebstrap that makes ``root``; the tree ``before`` is copied in ahead of the packages."""
    return (
        *("mmdebstrap", "--mode=unshare", "--variant=minbase", "--format=directory"),
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",  # otherwise the package usrmerge brings 50 MB of perl
        f"--include={','.join(packages(release))}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _WITHOUT),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=force-unsafe-io",
        f"--essential-hook=sync-in {before} /",
        CODENAMES[release],
        str(root),
        *sources,
    )


def bootstrap(release: str, root: Path, announce: Callable[[str], None]) -> None:
    """Make ``root`` from packages; ``announce`` gets each line with which mmdebstrap says what it is doing now.

    :raise CommandFailed: with what mmdebstrap said last.
    """
    before = root.with_name("before")
    place(BEFORE_PACKAGES, before)
    argv = bootstrap_argv(release, root, before, host_sources(CODENAMES[release]))
    said: deque[str] = deque(maxlen=30)
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(),
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in process.stdout:
            said.append(line)
            if line.startswith("I: "):
                announce(line[3:].rstrip(".\n"))
    if process.returncode != 0:
        raise CommandFailed(argv, process.returncode, "".join(said), _bootstrap_hint("".join(said)))


def configure(release: str, root: Path) -> None:
    """Turn what the packages made into a guest without an identity: no keys, no machine-id, no host name."""
    place({**AFTER_PACKAGES, **EXTRA_FILES.get(release, {})}, root)
    run("chroot", root, "systemctl", "enable", *ENABLED)
    run("chroot", root, "systemctl", "disable", *DISABLED)
    run("chroot", root, "systemctl", "set-default", "multi-user.target")
    for name in MASKED:
        (root / "etc/systemd" / name).parent.mkdir(exist_ok=True)
        (root / "etc/systemd" / name).symlink_to("/dev/null")
    for pattern in _LEFT_BEHIND:
        for path in root.glob(pattern):
            path.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/default/locale").write_text("LANG=C.UTF-8\n")
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    for name in ("etc/.updated", "var/.updated"):  # systemd-update-done(8): what a new /usr asks for is done
        (root / name).touch()


def place(files: dict[str, str], root: Path) -> None:
    """Copy files of ours to where they belong under ``root``, for everyone to read."""
    for name, target in files.items():
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(GUEST_FILES / name, path)
        path.chmod(0o644)


def host_sources(codename: str) -> tuple[str, ...]:
    """Find this machine's own apt sources for the release, as lines; none means mmdebstrap's default.

    A nearby mirror that the operator chose is better than any default. Only what a guest can reach as well is taken:
    no local files, nothing on the loopback.
    """
    words = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    listing = ""
    with suppress(CommandFailed):
        listing = run("apt-get", "indextargets", "--format", words, "Created-By: Packages")
    return source_lines(listing, codename)


def source_lines(listing: str, codename: str) -> tuple[str, ...]:
    """Choose Debian's own suites of one release from ``apt-get indextargets``; none, if the main one isn't there."""
    suites = (codename, f"{codename}-updates", f"{codename}-security")
    found: dict[str, str] = {}
    for line in listing.splitlines():
        origin, suite, uri, name, component = line.split("|")
        address = urlsplit(uri)
        usable = address.scheme in {"http", "https"} and address.hostname not in {"localhost", "127.0.0.1", "::1"}
        if origin == "Debian" and suite in suites and component == "main" and usable and "@" not in address.netloc:
            found.setdefault(suite, f"deb {uri} {name} main")
    return tuple(found[suite] for suite in suites if suite in found) if codename in found else ()


def _environment() -> dict[str, str]:
    """With the proxy that apt on this machine uses."""
    extra = {}
    for scheme in ("http", "https"):
        with suppress(CommandFailed):
            if proxy := run("apt-config", "dump", "--format", "%v%n", f"Acquire::{scheme}::Proxy").strip():
                extra[f"{scheme}_proxy"] = proxy
    return environment({"SOURCE_DATE_EPOCH": str(EPOCH), **extra})


def _bootstrap_hint(said: str) -> str:
    if any(word in said for word in ("NO_PUBKEY", "is not signed", "keyring")):
        return "update the package debian-archive-keyring: it holds the keys of this release"
    if any(
        word in said for word in ("Could not resolve", "Failed to fetch", "Could not connect", "Temporary failure")
    ):
        return "packages come over the network: check it with apt-get update; set http_proxy if there is a proxy"
    if "No space left" in said:
        return "make room: a build takes 2 GB"
    return ""


EPOCH = 1700000000
"""SOURCE_DATE_EPOCH: no time stamp in the result is later, so two builds from the same packages differ little."""
