"""Which packages and files make a guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmd.installer import root

OWN = """\
Debian|bookworm|http://mirror.example/debian/|bookworm|main
Debian|bookworm-updates|http://mirror.example/debian/|bookworm-updates|main
Debian|bookworm-security|https://mirror.example/security/|bookworm-security|main
Debian|bookworm|http://mirror.example/debian/|bookworm|contrib
Debian|bookworm|http://second.example/debian/|bookworm|main
Debian|trixie|http://mirror.example/debian/|trixie|main
Somebody|bookworm|http://other.example/|bookworm|main
"""


def test_the_hosts_own_sources() -> None:
    assert root.source_lines(OWN, "bookworm") == (
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb https://mirror.example/security/ bookworm-security main",
    )
    assert root.source_lines(OWN, "trixie") == ("deb http://mirror.example/debian/ trixie main",)


@pytest.mark.parametrize(
    "uri",
    [
        "file:/srv/mirror/",
        "copy:/srv/mirror/",
        "cdrom://disc/",
        "http://localhost:3142/debian/",
        "http://127.0.0.1/debian/",
        "http://[::1]/debian/",
        "https://user:secret@mirror.example/debian/",
    ],
)
def test_sources_that_a_guest_could_not_use_or_should_not_know(uri: str) -> None:
    assert root.source_lines(f"Debian|bookworm|{uri}|bookworm|main\n", "bookworm") == ()


def test_without_the_main_suite_the_default_is_better() -> None:
    assert (
        root.source_lines("Debian|bookworm-updates|http://mirror.example/|bookworm-updates|main\n", "bookworm") == ()
    )
    assert root.source_lines("", "bookworm") == ()


@pytest.mark.parametrize("release", root.CODENAMES)
def test_mmdebstrap_gets_everything(release: str) -> None:
    argv = root.bootstrap_argv(release, Path("/x/root"), Path("/x/before"), ("deb http://mirror.example/ s main",))
    assert argv[0] == "mmdebstrap"
    assert argv[-3:] == (root.CODENAMES[release], "/x/root", "deb http://mirror.example/ s main")
    (include,) = (word for word in argv if word.startswith("--include="))
    assert include == f"--include={','.join(root.packages(release))}"
    assert {"openssh-server", "qemu-guest-agent", "linux-image-cloud-amd64"} <= set(root.packages(release))


def test_every_file_of_the_guest_has_a_place() -> None:
    placed = {*root.BEFORE_PACKAGES, *root.AFTER_PACKAGES}
    placed |= {name for files in root.EXTRA_FILES.values() for name in files}
    installer = {"init", "seed.sh", "partitions", "installer.modules"}
    assert {path.name for path in root.GUEST_FILES.iterdir()} == placed | installer


def test_files_are_placed_for_everyone_to_read(tmp_path: Path) -> None:
    root.place(root.AFTER_PACKAGES, tmp_path)
    for name, target in root.AFTER_PACKAGES.items():
        assert (tmp_path / target).read_text() == (root.GUEST_FILES / name).read_text()
        assert (tmp_path / target).stat().st_mode & 0o777 == 0o644


def test_the_guests_disk_is_found_by_an_id_of_its_own() -> None:
    for name in ("fstab", "grub.cfg"):
        assert "PARTUUID=@ROOT@" in (root.GUEST_FILES / name).read_text()
