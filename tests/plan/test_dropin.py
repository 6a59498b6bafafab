"""What each network manager is told."""

from __future__ import annotations

import configparser

import pytest

from vmd.plan.dropin import Bridge, persist

BRIDGE = Bridge("vbridge0", "enp0s31f6", "52:54:00:99:00:02", 1500)

NETWORKD = """\
[Match]
Name=en*

[Network]
DHCP=ipv4
DNS=192.168.1.1

[Address]
Address=192.168.1.5/24

[Address]
Address=192.168.1.6/24
"""

PROFILE = """\
[connection]
id=Wired
uuid=1234
type=ethernet

[ipv4]
method=manual
address1=192.168.1.5/24,192.168.1.1

[ipv6]
method=auto
"""

INTERFACES = """\
# the lan
auto lo enp0s31f6
iface lo inet loopback
iface enp0s31f6 inet static
    address 192.168.1.5/24
    gateway 192.168.1.1
iface enp0s31f6 inet6 auto
iface other inet dhcp
"""


def test_networkd_keeps_what_the_nic_had_for_the_bridge() -> None:
    told = persist("systemd-networkd", BRIDGE, "/etc/systemd/network/20-wired.network", NETWORKD)
    assert told.reload == ("networkctl", "reload")
    texts = {file.path.rpartition("/")[2]: file.text for file in told.files}
    assert list(texts) == ["05-vmd-vbridge0.netdev", "05-vmd-enp0s31f6.network", "05-vmd-vbridge0.network"]
    assert "MACAddress=52:54:00:99:00:02" in texts["05-vmd-vbridge0.netdev"]
    assert "[Match]\nName=enp0s31f6\n\n[Network]\nBridge=vbridge0\n" in texts["05-vmd-enp0s31f6.network"]
    assert texts["05-vmd-vbridge0.network"] == "[Match]\nName=vbridge0\n\n" + NETWORKD.partition("\n\n")[2]


def test_network_manager_gets_two_profiles() -> None:
    told = persist("NetworkManager", BRIDGE, "/etc/NetworkManager/system-connections/w.nmconnection", PROFILE)
    upper, lower = (read(file.text) for file in told.files)
    assert {file.mode for file in told.files} == {0o600}
    assert upper["ipv4"]["address1"] == "192.168.1.5/24,192.168.1.1"
    assert upper["bridge"]["stp"] == "false"
    assert lower["connection"]["master"] == "vbridge0"
    assert upper["connection"]["uuid"] != lower["connection"]["uuid"]


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.read_string(text)
    return parser


def test_ifupdown_is_told_the_exact_lines() -> None:
    told = persist("ifupdown", BRIDGE, "/etc/network/interfaces", INTERFACES)
    assert told.files == ()
    assert told.by_hand == (
        "in /etc/network/interfaces, replace the stanzas of enp0s31f6 by:",
        "auto vbridge0",
        "iface vbridge0 inet static",
        "    address 192.168.1.5/24",
        "    gateway 192.168.1.1",
        "    bridge_ports enp0s31f6",
        "    bridge_hw 52:54:00:99:00:02",
        "    bridge_stp off",
        "    bridge_fd 0",
        "iface vbridge0 inet6 auto",
        "iface enp0s31f6 inet manual",
    )


@pytest.mark.parametrize(("owner", "section"), [("systemd-networkd", "Network"), ("NetworkManager", "ipv4")])
def test_where_nothing_is_known_it_is_dhcp(owner: str, section: str) -> None:
    assert any(section in read(file.text) for file in persist(owner, BRIDGE).files)


def test_nobody_is_nobody() -> None:
    told = persist("nobody", BRIDGE)
    assert (told.files, len(told.by_hand)) == ((), 1)
