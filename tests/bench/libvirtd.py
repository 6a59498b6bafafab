"""A libvirtd of the bench's own, in namespaces of its own: it sees none of this host's guests, nor its network."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measure import until

PYTHON = "/usr/bin/python3"
"""Debian's own: it has Debian's python3-libvirt."""

STORES = {"run": "/run/libvirt", "lib": "/var/lib/libvirt", "cache": "/var/cache/libvirt", "log": "/var/log/libvirt"}

QEMU_CONF = """
stdio_handler = "file"
cgroup_controllers = [ ]
remember_owner = 0
security_driver = "none"
user = "nobody"
group = "nogroup"
"""

DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>
<target dev='vda' bus='virtio'/></disk>
<serial type='file'><source path='{log}'/></serial>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<controller type='usb' model='none'/></devices></domain>
"""

START = r"""
# Where its QEMUs may not open /dev/kvm, libvirt probes QEMU anew at each start: it gets one that they may.
set -e
mount --make-rprivate /
for pair in "$@"; do
    mkdir -p "${pair#*=}"
    mount --bind "${pair%%=*}" "${pair#*=}"
done
if [ -e /dev/kvm ]; then
    [ -e "$HOME/kvm" ] || mknod -m 666 "$HOME/kvm" c 10 232
    mount --bind "$HOME/kvm" /dev/kvm
fi
ip link set lo up
exec libvirtd -p "$HOME/libvirtd.pid"
"""

CLIENT = """
import json, os, sys, threading, time, concurrent.futures as futures, libvirt
uri, verb, threads, names = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
libvirt.registerErrorHandler(lambda *_: None, None)
local = threading.local()
def domain(name):
    if not hasattr(local, "connection"):
        local.connection = libvirt.open(uri)
    return local.connection.lookupByName(name)
def one(name):
    getattr(domain(name), {"start": "create", "button": "shutdown", "kill": "destroy"}[verb])()
began = time.perf_counter()
if verb == "define":
    connection = libvirt.open(uri)
    for text in json.load(sys.stdin):
        connection.defineXML(text)
else:
    with futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, names))
if verb == "button":
    connection = libvirt.open(uri)
    while connection.numOfDomains():
        time.sleep(0.005)
print(time.perf_counter() - began)
"""


def missing() -> str:
    """Why no libvirtd can be had here, or nothing."""
    lacking = [name for name in ("libvirtd", "virsh", "unshare") if not shutil.which(name)]
    if lacking:
        return f"{', '.join(lacking)} not installed (apt install libvirt-daemon-system libvirt-clients)"
    if "libvirt-qemu" not in {entry.pw_name for entry in pwd.getpwall()}:
        return "there is no user libvirt-qemu (apt install libvirt-daemon-system)"
    if os.geteuid() != 0:
        return "it takes root to give it namespaces of its own"
    known = subprocess.run((PYTHON, "-c", "import libvirt"), capture_output=True, check=False)
    return "" if known.returncode == 0 else "python3-libvirt is not installed"


class Libvirtd:
    """A libvirtd, and how it is asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = f"qemu+unix:///system?socket={root}/run/libvirt-sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        for name, path in STORES.items():
            (root / name).mkdir(mode=0o755)
            if Path(path).is_dir() and name != "run":
                shutil.copytree(path, root / name, dirs_exist_ok=True, symlinks=True)
        shutil.copytree("/etc/libvirt", root / "etc", symlinks=True)
        (root / "etc" / "qemu.conf").write_text(QEMU_CONF)
        (root / "etc" / "libvirtd.conf").write_text('auth_unix_rw = "none"\n')

    def start(self) -> None:
        """Start it; it may not answer yet."""
        pairs = [f"{self.root / name}={path}" for name, path in {**STORES, "etc": "/etc/libvirt"}.items()]
        argv = ("unshare", "--mount", "--net", "--uts", "sh", "-c", START, "sh", *pairs)
        with (self.root / "libvirtd.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "HOME": str(self.root)}
            )

    def virsh(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a virsh."""
        argv = ("virsh", "-q", "-c", self.uri, *words)
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def answers(self, running: int = 0) -> bool:
        """Whether it answers, and has so many domains running."""
        done = self.virsh("list", "--name")
        return done.returncode == 0 and len(done.stdout.split()) >= running

    def ask(self, verb: str, names: Sequence[str], threads: int = 1, told: str = "") -> float:
        """Have something done to all of these by libvirt-python; return the seconds it took, without its start."""
        argv = (PYTHON, "-c", CLIENT, self.uri, verb, str(threads), *names)
        done = subprocess.run(argv, input=told, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"libvirt-python {verb}: {done.stderr[-500:]}")
        return float(done.stdout)

    def define(self, names: Sequence[str], disk: Path) -> None:
        """Define domains, each with a copy of this disk."""
        texts = []
        for name in names:
            shutil.copyfile(disk, self.root / f"{name}.raw")
            (self.root / f"{name}.raw").chmod(0o666)
            texts.append(DOMAIN.format(name=name, disk=self.root / f"{name}.raw", log=self.root / f"{name}.log"))
        self.ask("define", (), told=json.dumps(texts))

    @property
    def pid(self) -> int:
        """Its pid: unshare and the shell have become it."""
        if self._daemon is None:
            raise RuntimeError("libvirtd was not started")
        return self._daemon.pid

    def kill(self) -> None:
        """Kill it; what it started lives on."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None


@contextmanager
def libvirtd() -> Iterator[Libvirtd]:
    """A running libvirtd; all that it started is gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="vmd-bench-"))
    root.chmod(0o755)
    daemon = Libvirtd(root)
    daemon.start()
    try:
        until(daemon.answers, 60)
        yield daemon
    finally:
        if daemon.answers() and (names := daemon.virsh("list", "--name").stdout.split()):
            daemon.ask("kill", names, 8)
        daemon.kill()
        shutil.rmtree(root, ignore_errors=True)
