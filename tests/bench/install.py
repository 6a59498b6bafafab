"""What an unattended install costs, beside a guest that only copies the same payload to its disk.

    python -m tests.bench.install [--release debian-12] [--rounds 5] [--iso FILE]

Every round runs all of them, one after the other, so that a busy machine is busy for all; medians are printed, and
the ratio of CPU time is what counts. Exit status 1 when an install takes more than 1.3 times the CPU of the copy.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.installer import machine
from tests.installer.conftest import cache
from vmd.installer import debian, initramfs, iso
from vmd.installer.command import run
from vmd.installer.contract import HostKey, Succeeded, Transcript

LIMIT = 1.3

COPY = """\
#!/bin/busybox sh
# Copies the payload, as the installer does, and nothing else.
export PATH=/usr/bin:/bin
mkdir -p /proc /sys /dev /cd
/bin/busybox mount -t proc proc /proc
mount -t devtmpfs dev /dev 2>/dev/null
while read -r module; do insmod "/modules/$module"; done </modules/order
until mount -t iso9660 -o ro /dev/sr0 /cd; do sleep 0.1; done
COMMAND
sync
echo INSTALL_SUCCESSFUL >/dev/ttyS0
poweroff -f
sleep 60
"""
COMPRESSED = "zstd -dcq /cd/vmd/disk.img.zst | dd of=/dev/vda bs=1M iflag=fullblock oflag=direct"
RAW = "dd if=/cd/vmd/disk.img of=/dev/vda bs=1M oflag=direct"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, and judge."""
    arguments = parse(words)
    with tempfile.TemporaryDirectory(prefix="vmd-bench-") as name:
        work = Path(name)
        image = arguments.iso or built(arguments.release)
        copy, raw = copying(image, work / "copy", COMPRESSED), copying(image, work / "raw", RAW, unpack=True)
        bench = Bench(work, image)
        kinds: dict[str, Callable[[], machine.Run]] = {
            "install": bench.install,
            "copy the payload": lambda: bench.copy(copy),
            "copy it unpacked": lambda: bench.copy(raw),
        }
        runs: dict[str, list[machine.Run]] = {kind: [] for kind in kinds}
        boots = []
        for _ in range(arguments.rounds):
            for kind, once in kinds.items():
                runs[kind].append(once())
            boots.append(bench.boot())
    return report(image, runs, boots)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", choices=debian.RELEASES, default="debian-12")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iso", type=Path, help="an ISO that vmd built, instead of building one")
    return parser.parse_args(words)


def built(release: str) -> Path:
    """The ISO, built if need be; says how long that took."""
    path = cache() / f"{debian.cache_key(release)}.iso"
    if not path.exists():
        start = time.monotonic()
        debian.build(release, path, work=cache() / "installer", announce=lambda *_: None)
        say(f"built in {time.monotonic() - start:.0f} s")
    return path


def copying(image: Path, work: Path, command: str, *, unpack: bool = False) -> Path:
    """An ISO like ``image``, whose init only runs ``command``."""
    tree, ramdisk = work / "tree", work / "ramdisk"
    ramdisk.mkdir(parents=True)
    run("xorriso", "-osirrox", "on", "-indev", image, "-extract", "/vmd", tree / "vmd")
    run("chmod", "-R", "u+w", tree)
    run("zstd", "-dq", tree / "vmd/initrd.img", "-o", work / "initrd.cpio")
    run("cpio", "--extract", "--quiet", "--make-directories", f"--file={work / 'initrd.cpio'}", cwd=ramdisk)
    (ramdisk / "init").write_text(COPY.replace("COMMAND", command))
    (tree / "vmd/initrd.img").unlink()
    initramfs.pack(ramdisk, tree / "vmd/initrd.img")
    if unpack:
        run("zstd", "-dq", "--rm", tree / "vmd/disk.img.zst")
    iso.build(tree, "bench", work / "copy.iso")
    return work / "copy.iso"


class Bench:
    """The runs, each on a fresh disk of 8 GB."""

    def __init__(self, work: Path, image: Path) -> None:
        self.image, self.disk, self.key = image, work / "disk.qcow2", work / "id"
        self.seed = work / "seed"
        self.seed.mkdir()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        shutil.copyfile(self.key.with_suffix(".pub"), self.seed / "ssh.pub")
        self.host_key = ""

    def install(self) -> machine.Run:
        """The whole install; the disk is kept for :meth:`boot`."""
        self.disk.unlink(missing_ok=True)
        done = checked(machine.install(self.image, machine.make_disk(self.disk), self.seed))
        (key,) = (message for message in Transcript().feed(done.console) if isinstance(message, HostKey))
        self.host_key = f"{key.type} {key.key}"
        return done

    def copy(self, image: Path) -> machine.Run:
        """The same machine with an ISO that only copies."""
        target = self.disk.with_name("copy.qcow2")
        target.unlink(missing_ok=True)
        return checked(machine.install(image, machine.make_disk(target), self.seed))

    def boot(self) -> float:
        """From disk to a command over ssh, in seconds."""
        guest = machine.Guest(self.disk, self.host_key, self.key)
        start = time.monotonic()
        with guest.running():
            guest.says("true")
            return time.monotonic() - start


def checked(done: machine.Run) -> machine.Run:
    """A run that did what it should."""
    if Succeeded() not in Transcript().feed(done.console):
        raise SystemExit(f"it failed:\n{done.text}")
    return done


def report(image: Path, runs: dict[str, list[machine.Run]], boots: list[float]) -> int:
    """Print the medians; the exit status."""
    size = image.stat().st_size / 1e6
    say(f"{image.name}: {size:.0f} MB; {len(boots)} rounds, medians")
    cpu = {kind: statistics.median(done.cpu for done in all_of) for kind, all_of in runs.items()}
    for kind, all_of in runs.items():
        wall = statistics.median(done.wall for done in all_of)
        ratio = statistics.median(a.cpu / b.cpu for a, b in zip(runs["install"], all_of, strict=True))
        say(f"  {kind:18} wall {wall:5.1f} s   CPU {cpu[kind]:5.1f} s   install/this {ratio:.2f}")
    say(f"  {'disk to ssh':18} wall {statistics.median(boots):5.1f} s")
    ratio = statistics.median(a.cpu / b.cpu for a, b in zip(runs["install"], runs["copy the payload"], strict=True))
    if ratio > LIMIT:
        say(f"an install may take {LIMIT} times the CPU of a copy, and takes {ratio:.2f}")
    return ratio > LIMIT


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
