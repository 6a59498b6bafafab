"""The whole way, for real: build the ISO, install a guest from it under TCG, boot the guest and log in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.installer import machine
from tests.installer.conftest import debian_iso
from vmd.installer import iso
from vmd.installer.contract import Failed, HostKey, Message, Progress, Succeeded, Transcript
from vmd.installer.debian import RELEASES

pytestmark = [
    pytest.mark.boot,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="not installed: qemu-system-x86"),
]

needs_ovmf = pytest.mark.skipif(not machine.OVMF_CODE.exists(), reason="not installed: ovmf")


class Installed:
    """What one install left: its disk, its seed and what it said."""

    def __init__(self, directory: Path, image: Path, hostname: str, *extra: str) -> None:
        self.seed = make_seed(directory / "seed", directory / "id", hostname)
        self.key, self.disk = directory / "id", machine.make_disk(directory / "disk.qcow2")
        self.run = machine.install(image, self.disk, self.seed, *extra)
        self.messages = heard(self.run)

    @property
    def host_key(self) -> str:
        (key,) = (message for message in self.messages if isinstance(message, HostKey))
        return f"{key.type} {key.key}"

    def guest(self, directory: Path, *extra: str) -> machine.Guest:
        """A guest that runs from a copy of the disk."""
        return machine.Guest(machine.clone(self.disk, directory / "clone.qcow2"), self.host_key, self.key, *extra)


def make_seed(directory: Path, key: Path, hostname: str) -> Path:
    directory.mkdir()
    subprocess.run(("/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)), check=True)
    shutil.copyfile(key.with_suffix(".pub"), directory / "ssh.pub")
    (directory / "hostname").write_text(f"{hostname}\n")
    return directory


def heard(run: machine.Run) -> tuple[Message, ...]:
    transcript = Transcript()
    return transcript.feed(run.console) + transcript.finish()


@pytest.fixture(scope="session", params=RELEASES)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp(request.param), debian_iso(request.param), "alice")


@pytest.fixture(scope="session")
def image() -> Path:
    return debian_iso("debian-12")


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    return make_seed(tmp_path / "seed", tmp_path / "id", "bob")


@pytest.mark.parametrize("release", RELEASES)
def test_image_is_small_and_says_what_it_is(release: str) -> None:
    image = debian_iso(release)
    assert image.stat().st_size <= 130_000_000
    assert iso.key_of(image) == image.stem


def test_install_says_how_it_goes(installed: Installed) -> None:
    assert installed.run.status == 0, installed.run.text
    assert installed.messages[-1] == Succeeded()
    steps = [message for message in installed.messages if isinstance(message, Progress)]
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1] == Progress(100, 100, "complete")
    assert len({step.text for step in steps}) >= 5
    assert installed.host_key.startswith("ssh-ed25519 AAAA")


def test_console_is_quiet(installed: Installed) -> None:
    lines = [line for line in installed.run.text.splitlines() if line.strip()]
    own = re.compile(r"INSTALL_|SSH_HOST_KEY|\[ *[\d.]+\] reboot: Power down")
    assert [line for line in lines if not own.match(line)] == []


def test_guest_is_as_promised(installed: Installed, tmp_path: Path) -> None:
    guest = installed.guest(tmp_path)
    with guest.running() as process:
        assert guest.says("hostname") == "alice"
        assert guest.says("systemctl list-units --state=failed --plain --no-legend") == ""
        assert guest.says("id -un", user="admin") == "admin"
        assert guest.says("sudo -n id -un", user="admin") == "root"
        assert guest.says("passwd --status root").split()[1] == "L"
        assert guest.says("passwd --status admin").split()[1] == "L"
        assert (
            guest.says("systemctl is-active serial-getty@ttyS0 qemu-guest-agent systemd-networkd").split()
            == ["active"] * 3
        )
        assert guest.says("systemctl list-timers --plain --no-legend 'apt-*'") == ""
        assert int(guest.says("df --output=size -BM / | tail -n1").removesuffix("M")) > 7500
        assert "no errors" in guest.says("sfdisk --verify /dev/vda").lower()
        assert re.fullmatch(r"[0-9a-f]{32}", guest.says("cat /etc/machine-id"))
        assert guest.says("getent hosts alice").split()[1] == "alice"
        assert "Debian GNU/Linux" in guest.says("cat /etc/os-release")
        assert guest.says("cat /etc/apt/sources.list").count(" main") >= 2
        assert guest.ask_agent("guest-get-host-name") == {"host-name": "alice"}
        guest.press_power_button()
        assert process.wait(120) == 0
    assert b"alice login:" in guest.console.read_bytes()


def test_password_logins_are_not_offered(installed: Installed, tmp_path: Path) -> None:
    guest = installed.guest(tmp_path)
    guest.key = tmp_path / "other"
    subprocess.run(("/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(guest.key)), check=True)
    with guest.running():
        refused = guest.ssh("true")
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_guest_grows_with_its_disk(installed: Installed, tmp_path: Path) -> None:
    guest = installed.guest(tmp_path)
    words = ("/usr/bin/qemu-img", "resize", "-q", str(tmp_path / "clone.qcow2"), "12G")
    subprocess.run(words, check=True)
    with guest.running():
        assert int(guest.says("df --output=size -BM / | tail -n1").removesuffix("M")) > 11500
        assert "no errors" in guest.says("sfdisk --verify /dev/vda").lower()


@needs_ovmf
def test_guest_boots_by_uefi(installed: Installed, tmp_path: Path) -> None:
    guest = installed.guest(tmp_path, *machine.uefi(tmp_path / "vars.fd"))
    with guest.running():
        assert guest.says("test -d /sys/firmware/efi && hostname") == "alice"


@needs_ovmf
def test_install_by_uefi(image: Path, tmp_path: Path) -> None:
    made = Installed(tmp_path, image, "carol", *machine.uefi(tmp_path / "vars.fd"))
    assert Succeeded() in made.messages, made.run.text
    with (guest := made.guest(tmp_path)).running():
        assert guest.says("hostname") == "carol"


def test_two_guests_share_no_identity(image: Path, tmp_path: Path) -> None:
    facts = (
        "cat /etc/machine-id; findmnt -no UUID /; lsblk -dno PTUUID /dev/vda; lsblk -no PARTUUID /dev/vda; hostname"
    )
    said = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made = Installed(tmp_path / name, image, name)
        with (guest := made.guest(tmp_path / name)).running():
            said.append([made.host_key, *guest.says(facts).split()])
    assert len(said[0]) == len(said[1]) == 8
    assert set(said[0]) & set(said[1]) == set()


def test_seed_says_who_and_where(image: Path, tmp_path: Path, seed: Path) -> None:
    (seed / "hostname").write_bytes(b"Dave-2\r\n")
    (seed / "user").write_text("dave\n")
    (seed / "network").mkdir()
    (seed / "network/lan.network").write_text(
        "[Match]\nType=ether\n[Network]\nAddress=10.0.2.77/24\nGateway=10.0.2.2\n"
    )
    second = "# and one more\n" + (seed / "ssh.pub").read_text()
    with (seed / "ssh.pub").open("a") as keys:
        keys.write(second)
    target = machine.make_disk(tmp_path / "disk.qcow2")
    messages = heard(machine.install(image, target, seed))
    (key,) = (message for message in messages if isinstance(message, HostKey))
    guest = machine.Guest(target, f"{key.type} {key.key}", tmp_path / "id", address="10.0.2.77")
    with guest.running():
        assert guest.says("hostname", user="dave") == "Dave-2"
        assert (
            guest.says("sudo -n cat /root/.ssh/authorized_keys", user="dave")
            == (seed / "ssh.pub").read_text().strip()
        )
        assert "10.0.2.77/24" in guest.says("ip -br address show scope global")
        assert "dynamic" not in guest.says("ip -4 address show scope global")


def test_install_from_ide_on_a_pc(image: Path, tmp_path: Path, seed: Path) -> None:
    target = machine.make_disk(tmp_path / "disk.qcow2")
    console = tmp_path / "console"
    devices = (*machine.disk(target), *machine.seed(seed, floppy=False), *machine.ide_cdrom(image))
    run = machine.run(machine.qemu(console, *devices, machine="pc"), console)
    assert heard(run)[-1] == Succeeded(), run.text


def test_install_takes_the_first_blank_disk(image: Path, tmp_path: Path, seed: Path) -> None:
    full, blank = machine.make_disk(tmp_path / "full.qcow2"), machine.make_disk(tmp_path / "blank.qcow2")
    subprocess.run(
        ("/usr/bin/qemu-io", "-c", "write -P 7 8589934080 512", str(full)), check=True, capture_output=True
    )
    before = full.read_bytes()
    console = tmp_path / "console"
    devices = (*machine.disk(full, "full"), *machine.disk(blank), *machine.seed(seed), *machine.cdrom(image))
    run = machine.run(machine.qemu(console, *devices), console)
    assert heard(run)[-1] == Succeeded(), run.text
    assert "copying debian-12 to /dev/vdb" in run.text
    assert full.read_bytes() == before


def refused(run: machine.Run) -> str:
    """The one reason for which an install was refused."""
    assert run.status == 0, run.text
    verdicts = [message for message in heard(run) if isinstance(message, Failed | Succeeded)]
    assert len(verdicts) == 1, run.text
    assert isinstance(verdicts[0], Failed), run.text
    return verdicts[0].reason


def test_no_seed(image: Path, tmp_path: Path) -> None:
    target, console = machine.make_disk(tmp_path / "disk.qcow2"), tmp_path / "console"
    run = machine.run(machine.qemu(console, *machine.disk(target), *machine.cdrom(image)), console)
    assert refused(run) == "no FAT drive with ssh.pub on it"


def test_no_disk(image: Path, tmp_path: Path, seed: Path) -> None:
    console = tmp_path / "console"
    run = machine.run(machine.qemu(console, *machine.seed(seed), *machine.cdrom(image)), console)
    assert refused(run) == "no disk to install on: there is no virtio disk"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (("ssh.pub", b"garbage\n"), "ssh.pub on the FAT drive /dev/vdb line 1 is not an OpenSSH public key"),
        (
            ("ssh.pub", bytes(80)),
            "ssh.pub on the FAT drive /dev/vdb holds NUL bytes: the file behind it could not be read",
        ),
        (("hostname", b"a.b\n"), "hostname on the FAT drive /dev/vdb is not one DNS label: a.b"),
        (("user", b"root\n"), "user on the FAT drive /dev/vdb names root, which Debian has already"),
        (("lan.network", b""), "the network files on the FAT drive /dev/vdb: lan.network is empty"),
    ],
)
def test_a_seed_that_cannot_be_meant(
    image: Path, tmp_path: Path, seed: Path, file: tuple[str, bytes], reason: str
) -> None:
    (seed / file[0]).write_bytes(file[1])
    target = machine.make_disk(tmp_path / "disk.qcow2")
    assert refused(machine.install(image, target, seed)) == reason
    assert allocated(target) == 0


def allocated(image: Path) -> int:
    shown = subprocess.run(("/usr/bin/qemu-img", "map", "--output=json", str(image)), capture_output=True, check=True)
    return sum(extent["length"] for extent in json.loads(shown.stdout) if extent["data"])


def test_a_disk_that_is_too_small(image: Path, tmp_path: Path, seed: Path) -> None:
    reason = refused(machine.install(image, machine.make_disk(tmp_path / "disk.qcow2", "100M"), seed))
    assert re.fullmatch(r"no disk to install on; /dev/vda has 100 MiB, debian-12 needs \d+", reason)


@pytest.mark.parametrize("offset", [1024, (2 << 30) - 512], ids=["first", "last"])
def test_a_disk_that_is_not_blank(image: Path, tmp_path: Path, seed: Path, offset: int) -> None:
    target = machine.make_disk(tmp_path / "disk.qcow2", "2G")
    machine.scribble(target, offset)
    before = target.read_bytes()
    assert refused(machine.install(image, target, seed)) == "no disk to install on; /dev/vda is not blank"
    assert target.read_bytes() == before


def test_a_damaged_image(image: Path, tmp_path: Path, seed: Path) -> None:
    damaged = tmp_path / "damaged.iso"
    shutil.copyfile(image, damaged)
    with damaged.open("r+b") as file:
        file.seek(image.stat().st_size // 2)
        file.write(b"damaged" * 100)
    target = machine.make_disk(tmp_path / "disk.qcow2")
    assert "copying to /dev/vda failed" in refused(machine.install(damaged, target, seed))


def test_little_memory_is_enough(image: Path, tmp_path: Path, seed: Path) -> None:
    target, console = machine.make_disk(tmp_path / "disk.qcow2"), tmp_path / "console"
    devices = (*machine.disk(target), *machine.seed(seed), *machine.cdrom(image))
    run = machine.run(machine.qemu(console, *devices, memory="256M"), console)
    assert heard(run)[-1] == Succeeded(), run.text
