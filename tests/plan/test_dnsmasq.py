"""A segment's DHCP: its network, its line and its hosts."""

from __future__ import annotations

import pytest

from vmd.errors import VmdError
from vmd.plan.dnsmasq import Files, Host, dhcp_line, host_address, hosts_file, network


@pytest.mark.parametrize("written", ["192.168.9.1/24", "fd00::/64", "192.168.9.0/30", "lan", "192.168.9.0/33"])
def test_network_that_will_not_do(written: str) -> None:
    with pytest.raises(VmdError, match="dhcp: "):
        network(written)


def test_line() -> None:
    subnet = network("192.168.9.0/29")
    line = dhcp_line("vms0", subnet, Files("/a dir/leases", "/a dir/hosts"), nat=False)
    assert "--dhcp-range=192.168.9.2,192.168.9.6,255.255.255.248,1h" in line
    assert "--dhcp-leasefile=/a dir/leases" in line
    assert "--dhcp-option=option:router" in line
    assert host_address(subnet) == "192.168.9.1"
    open_line = dhcp_line("vms0", subnet, Files("l", "h"), nat=True)
    assert set(line) - set(open_line) >= {"--no-resolv", "--dhcp-option=option:router"}


def test_hosts() -> None:
    hosts = [Host("alice", "52:54:00:00:00:01", "192.168.9.3"), Host("bob", "52:54:00:00:00:02")]
    assert hosts_file(hosts) == "52:54:00:00:00:01,192.168.9.3,alice\n52:54:00:00:00:02,bob\n"
