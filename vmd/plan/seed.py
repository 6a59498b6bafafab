"""Guest → the files on its virtual FAT drive: the keys an installer looks for, or cloud-init's NoCloud data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_interface
from typing import Any

from ..definition.guest import Guest
from ..definition.layout import guest_uuid, mac
from ..definition.network import Nic
from .observed import HostFacts, Observed

Files = tuple[tuple[str, bytes], ...]


def installer_seed(guest: Guest, observed: Observed, host: HostFacts) -> Files:
    """What an unattended installer finds: ``ssh.pub`` as in 2017, and what our own asks for besides."""
    return (
        ("ssh.pub", _lines(observed.keys)),
        ("hostname", _lines([guest.hostname])),
        ("user", _lines([guest.user])),
        *_networkd(guest, host),
    )


def cloud_seed(guest: Guest, observed: Observed, host: HostFacts) -> Files:
    """What cloud-init's NoCloud data source reads.

    JSON is YAML, so no emitter is needed (cloud-init's documentation: user-data formats, NoCloud, network config
    version 2).
    """
    identity = {"instance-id": guest_uuid(host.fleet_id, guest.name), "local-hostname": guest.hostname}
    own = observed.files.get(guest.user_data) if guest.user_data else None
    files = [("meta-data", _json(identity)), ("user-data", _user_data(guest, observed) if own is None else own)]
    # left to itself, cloud-init asks DHCP for one NIC alone
    if len(guest.nics) > 1 or any(nic.address for nic in guest.nics):
        files.append(("network-config", _json(_network_config(guest, host))))
    return tuple(files)


def _user_data(guest: Guest, observed: Observed) -> bytes:
    keys = list(observed.keys)
    admin = {
        "name": guest.user,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "shell": "/bin/bash",
        "lock_passwd": True,
        "ssh_authorized_keys": keys,
    }
    root = {"name": "root", "lock_passwd": True, "ssh_authorized_keys": keys}
    config: dict[str, Any] = {
        "hostname": guest.hostname,
        "disable_root": False,
        "ssh_pwauth": False,
        "users": [root, admin],
        # vmd learns the guest's host keys from its console, and trusts no others
        "ssh": {"emit_keys_to_console": True},
    }
    if guest.packages:
        config |= {"package_update": True, "packages": list(guest.packages)}
    return b"#cloud-config\n" + _json(config)


def _network_config(guest: Guest, host: HostFacts) -> dict[str, Any]:
    interfaces = {}
    for index, nic in enumerate(guest.nics):
        address = nic.mac or mac(host.fleet_id, guest.name, index)
        interfaces[f"nic{index}"] = {"match": {"macaddress": address}, **_version_2(nic)}
    return {"version": 2, "ethernets": interfaces}


def _version_2(nic: Nic) -> dict[str, Any]:
    if nic.address is None:
        return {"dhcp4": True}
    config: dict[str, Any] = {"addresses": [nic.address]}
    if nic.gateway:
        # cloud-init 22.4 (Debian 12) does not know the word default
        everywhere = "::/0" if ":" in nic.gateway else "0.0.0.0/0"
        config["routes"] = [{"to": everywhere, "via": nic.gateway}]
    if nic.dns:
        config["nameservers"] = {"addresses": list(nic.dns)}
    return config


def _networkd(guest: Guest, host: HostFacts) -> Iterator[tuple[str, bytes]]:
    """One systemd.network(5) file for each NIC with a static address; the others have DHCP without one."""
    for index, nic in enumerate(guest.nics):
        if nic.address is None:
            continue
        address = nic.mac or mac(host.fleet_id, guest.name, index)
        lines = ["[Match]", f"MACAddress={address}", "[Network]", f"Address={ip_interface(nic.address)}"]
        lines += [f"Gateway={nic.gateway}"] if nic.gateway else []
        lines += [f"DNS={server}" for server in nic.dns]
        yield f"nic{index}.network", _lines(lines)


def _lines(lines: list[str] | tuple[str, ...]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _json(value: object) -> bytes:
    """JSON that YAML reads alike: it knows neither JSON's pairs of surrogates nor bare unprintable characters."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text).encode() + b"\n"


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"
