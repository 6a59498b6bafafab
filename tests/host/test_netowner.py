"""Who manages a NIC, from the files of each manager."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmd.host.netowner import owner

NETWORK_FILE = "[Match]\nName=en*\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_nobody(root: Path) -> None:
    assert owner("eth0", 2, root).name == "nobody"


def test_networkd(root: Path) -> None:
    write(root, "run/systemd/netif/links/2", "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/a.network\n")
    write(root, "etc/systemd/network/a.network", NETWORK_FILE)
    assert owner("eth0", 2, root) == ("systemd-networkd", "/etc/systemd/network/a.network", NETWORK_FILE)
    assert owner("eth1", 3, root).name == "nobody"


def test_networkd_that_leaves_it_alone(root: Path) -> None:
    write(root, "run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\n")
    assert owner("eth0", 2, root).name == "nobody"


def test_network_manager_is_asked_first(root: Path) -> None:
    write(root, "run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\n")
    write(root, "run/NetworkManager/devices/2", "[device]\nmanaged=true\nconnection-uuid=12-34\n")
    write(root, "etc/NetworkManager/system-connections/w.nmconnection", "[connection]\nuuid=12-34\n")
    found = owner("eth0", 2, root)
    assert found.name == "NetworkManager"
    assert found.file == "/etc/NetworkManager/system-connections/w.nmconnection"


def test_network_manager_that_leaves_it_alone(root: Path) -> None:
    write(root, "run/NetworkManager/devices/2", "[device]\nmanaged=false\n")
    assert owner("eth0", 2, root).name == "nobody"


@pytest.mark.parametrize("file", ["etc/network/interfaces", "etc/network/interfaces.d/lan"])
def test_ifupdown(root: Path, file: str) -> None:
    write(root, file, "auto eth0\niface eth0 inet dhcp\n")
    found = owner("eth0", 2, root)
    assert (found.name, found.file) == ("ifupdown", f"/{file}")
    assert owner("eth", 3, root).name == "nobody"
