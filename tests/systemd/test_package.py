"""The Debian package in a clean Debian 12 and 13, under a real systemd: from apt install to purge, with real guests.

VMD_DEB_DIR names a directory with packages that were built before; without it they are built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import guests

from .machine import Machine, machine, missing, until

ROOT = Path(__file__).parents[2]
BASE = "systemd,systemd-sysv,dbus,iproute2,procps,systemd-container,apt,debconf"
FLEET = """\
guests:
  alice: {memory: 16M, disk: {path: /srv/alice.raw, format: raw}, autostart: true, restart: always, KEYS}
  bob: {memory: 16M, disk: {path: /srv/bob.raw, format: raw}, after: [alice]}
"""
LIMITS = "limits: {cpu: 50%, memory: 300M, io: 10M}"
QUICK_WATCHDOG = "[Service]\nWatchdogSec=2s\n"

pytestmark = [pytest.mark.boot, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def release(request: pytest.FixtureRequest) -> str:
    if why := missing() or guests.missing():
        pytest.skip(why)
    return str(request.param)


@pytest.fixture(scope="module")
def place(release: str) -> Iterator[Path]:
    """A directory that QEMU's user may pass through."""
    directory = Path(tempfile.mkdtemp(prefix=f"vmd-{release}-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def deb(release: str, place: Path) -> Path:
    directory = Path(os.environ.get("VMD_DEB_DIR") or place / "deb")
    if not directory.exists():
        environ = {**os.environ, "VMD_VENV": sys.prefix}
        argv = (str(ROOT / "packaging/build-deb"), "-o", str(directory), release)
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    (made,) = directory.glob(f"*~{release}_*.deb")
    return made


@pytest.fixture(scope="module")
def root(release: str, deb: Path, place: Path) -> Path:
    """A clean Debian in which apt was told to install the package, and nothing else."""
    into = place / "debian"
    install = "apt-get install -q -y --no-install-recommends /root/vmd.deb"
    argv = (
        *("mmdebstrap", "--quiet", "--variant=apt", f"--include={BASE}"),
        *("--aptopt=APT::Install-Recommends false", "--dpkgopt=force-unsafe-io", "--skip=cleanup/apt"),
        f"--customize-hook=upload {deb} /root/vmd.deb",
        f"--chrooted-customize-hook={install}",
        *(release, str(into)),
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return into


@pytest.fixture(scope="module")
def host(root: Path, place: Path) -> Iterator[Machine]:
    """A machine with the package and two guests' disks; it has booted once."""
    with machine(root) as made:
        made.directory.chmod(0o755)
        disks = made.files / "srv"
        disks.mkdir()
        uid = int(re.findall(r"^vmd-qemu:x:(\d+):", (root / "etc/passwd").read_text(), re.MULTILINE)[0])
        for name in ("alice", "bob"):
            os.chown(guests.disk(disks / f"{name}.raw"), uid, -1)
        fleet = made.files / "etc/vmd/fleet.d"
        fleet.mkdir(parents=True)
        (fleet / "fleet.yaml").write_text(FLEET.replace("KEYS", LIMITS))
        made.boot()
        yield made


def pid(host: Machine, name: str) -> str:
    return str(re.findall(r'"pid": (\d+|null)', host.ok("vmctl", "status", name, "--json"))[0])


def show(host: Machine, unit: str, *properties: str) -> dict[str, str]:
    said = host.ok("systemctl", "show", unit, "-p", ",".join(properties))
    return dict(line.split("=", 1) for line in said.splitlines())


def running(host: Machine, *names: str) -> None:
    for name in names:
        host.ok("vmctl", "wait", name, "--for", "kernel", "--timeout", "60s")


def test_lintian_finds_no_error(deb: Path) -> None:
    lintian = shutil.which("lintian")
    if lintian is None:
        pytest.skip("lintian is not installed")
    done = subprocess.run((lintian, "--fail-on", "error", deb), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_is_marked_autostart_runs_after_boot_in_a_scope_of_its_own(host: Machine) -> None:
    until(lambda: '"state": "running"' in host.ok("vmctl", "status", "alice", "--json"))
    assert show(host, "vmd.service", "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
    assert host.ok("cat", f"/proc/{pid(host, 'alice')}/cgroup").endswith("/vmd.slice/vmd-alice.scope")
    assert show(host, "vmd-alice.scope", "CPUQuotaPerSecUSec", "MemoryMax", "IOReadBandwidthMax") == {
        "CPUQuotaPerSecUSec": "500ms",
        "MemoryMax": str(300 << 20),
        "IOReadBandwidthMax": f"/srv {10 << 20}",
    }
    assert "alice" in host.ok("machinectl", "list", "--no-pager")
    assert pid(host, "bob") == "null"


def test_the_rest_is_started_when_it_is_asked_for(host: Machine) -> None:
    host.ok("vmctl", "up", "bob")
    until(lambda: "2 running" in show(host, "vmd.service", "StatusText")["StatusText"])
    assert "bob: start QEMU: done" in host.ok(
        "journalctl", "--no-pager", "-o", "cat", "VMD_GUEST=bob", "VMD_EVENT=step.done"
    )


def test_the_sandbox_and_the_user_of_qemu_are_there(host: Machine) -> None:
    number = pid(host, "alice")
    assert "\0-sandbox\0on," in host.ok("cat", f"/proc/{number}/cmdline")
    assert host.ok("ps", "-o", "user=", "-p", number) == "vmd-qemu"


@pytest.mark.parametrize(
    "command",
    [
        ("systemctl", "restart", "vmd"),
        ("systemctl", "kill", "-s", "KILL", "vmd"),
        ("systemctl", "stop", "vmd"),
        ("dpkg", "-i", "/root/vmd.deb"),
    ],
    ids=" ".join,
)
def test_guests_live_through(host: Machine, command: tuple[str, ...]) -> None:
    running(host, "alice", "bob")
    before, vmd = (pid(host, "alice"), pid(host, "bob")), show(host, "vmd.service", "MainPID")
    host.ok(*command)
    running(host, "alice", "bob")  # the socket is there all the time, and starts vmd where it was stopped
    assert (pid(host, "alice"), pid(host, "bob")) == before
    assert show(host, "vmd.service", "MainPID") != vmd


def test_a_vmd_that_hangs_is_started_again(host: Machine) -> None:
    running(host, "alice")
    host.ok("mkdir", "-p", "/run/systemd/system/vmd.service.d")
    host.ok("tee", "/run/systemd/system/vmd.service.d/quick.conf", stdin=QUICK_WATCHDOG)
    host.ok("systemctl", "daemon-reload")
    host.ok("systemctl", "restart", "vmd")
    guest, vmd = pid(host, "alice"), show(host, "vmd.service", "MainPID")["MainPID"]
    restarts = int(show(host, "vmd.service", "NRestarts")["NRestarts"])
    host.ok("kill", "-STOP", vmd)
    until(lambda: int(show(host, "vmd.service", "NRestarts")["NRestarts"]) > restarts)
    running(host, "alice")
    assert pid(host, "alice") == guest
    assert "atchdog timeout" in host.ok("journalctl", "--no-pager", "-u", "vmd")
    host.ok("rm", "/run/systemd/system/vmd.service.d/quick.conf")
    host.ok("systemctl", "daemon-reload")
    host.ok("systemctl", "restart", "vmd")


def test_reload_reads_the_definitions_again(host: Machine) -> None:
    running(host, "alice")
    host.ok("tee", "/etc/vmd/fleet.d/more.yaml", stdin="guests: {carol: {memory: 1G, disk: 4G}}\n")
    host.ok("systemctl", "reload", "vmd")
    assert "carol" in host.ok("vmctl", "list", "--names").splitlines()
    host.ok("rm", "/etc/vmd/fleet.d/more.yaml")


def test_an_installer_is_built_in_a_unit_of_its_own(host: Machine) -> None:
    """Its tools are only recommended, so here it gets as far as to name them."""
    said = host.run("vmctl", "iso", "build", "debian-12")
    assert said.code == 1
    assert "building the installer needs mmdebstrap" in said.out
    assert re.search(r"Started run-\S+\.service", host.ok("journalctl", "--no-pager", "-o", "cat", "_PID=1"))


def test_the_units_are_found_right(host: Machine) -> None:
    for unit in ("vmd.service", "vmd.socket", "vmd-guests.service"):
        assert host.ok("systemd-analyze", "verify", "--man=no", unit) == ""
    judged = host.ok("systemd-analyze", "security", "--no-pager", "vmd.service")
    assert float(re.findall(r"exposure level for vmd.service: ([\d.]+)", judged)[0]) <= 4.0


def test_an_ordinary_user_may_talk_to_it_as_a_member_of_the_group(host: Machine) -> None:
    host.ok("useradd", "dan")
    assert host.run("setpriv", "--reuid=dan", "--regid=dan", "--clear-groups", "vmctl", "list").code == 4
    host.ok("usermod", "-a", "-G", "vmd", "dan")
    assert "alice" in host.ok("setpriv", "--reuid=dan", "--regid=dan", "--init-groups", "vmctl", "list")


def test_a_host_that_goes_down_powers_its_guests_down_in_order(host: Machine) -> None:
    running(host, "alice", "bob")
    host.off()
    host.boot()
    until(lambda: '"state": "running"' in host.ok("vmctl", "status", "alice", "--json"))
    assert pid(host, "bob") == "null"
    said = host.ok("journalctl", "--no-pager", "-o", "cat", "-u", "vmd", "VMD_EVENT=state")
    ends = [said.rindex("bob: is stopped"), said.rindex("alice: is stopped")]
    assert ends == sorted(ends), "alice is started before bob, and so stopped after"
    assert host.ok("cat", "/var/lib/vmd/guests/bob/want") == "up", "nobody told bob down"


def test_purge_keeps_the_disks_unless_told(host: Machine) -> None:
    running(host, "alice")
    said = host.ok("apt-get", "purge", "-q", "-y", "vmd")
    assert "are kept" in said
    assert host.run("systemctl", "is-active", "vmd-alice.scope").code != 0
    host.ok("test", "-e", "/var/lib/vmd/guests/alice")
    host.ok("dpkg", "-i", "/root/vmd.deb")
    host.ok("debconf-set-selections", stdin="vmd vmd/purge_guests boolean true\n")
    host.ok("apt-get", "purge", "-q", "-y", "vmd")
    assert host.run("test", "-e", "/var/lib/vmd").code != 0
    assert host.run("test", "-e", "/usr/lib/vmd").code != 0
