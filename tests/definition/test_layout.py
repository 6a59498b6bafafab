import re
import uuid

import pytest

from vmd.definition.layout import SOCKET_PATH_LIMIT, GuestLayout, Layout, guest_uuid, mac
from vmd.errors import VmdError
from vmd.protocol import Directories

LAYOUT = Layout(Directories("/etc/vmd", "/var/lib/vmd", "/run/vmd"))


def properties(layout: object) -> dict[str, str]:
    names = [name for name, value in vars(type(layout)).items() if isinstance(value, property)]
    return {name: getattr(layout, name) for name in names}


def test_what_outlives_a_run_is_in_the_state_and_sockets_are_in_the_runtime() -> None:
    alice = LAYOUT.guest("alice")
    paths = properties(alice)
    sockets = {"qmp", "monitor", "console", "vnc", "agent"}
    assert {name for name, path in paths.items() if path.startswith("/run/vmd/guests/alice/")} == sockets
    rest = {path for name, path in paths.items() if name not in sockets}
    assert all(path.startswith("/var/lib/vmd/guests/alice/") for path in rest)
    assert len({*paths.values()}) == len(paths)


def test_a_disk_may_have_a_place_of_its_own() -> None:
    alice = LAYOUT.guest("alice", "/srv/a, b: c.raw")
    assert (alice.disk, alice.disk_tmp) == ("/srv/a, b: c.raw", "/srv/a, b: c.raw.tmp")
    assert LAYOUT.guest("alice").disk == "/var/lib/vmd/guests/alice/disk.qcow2"


def test_the_daemons_own_places() -> None:
    assert LAYOUT.iso("debian-12-0a1b") == "/var/lib/vmd/iso/debian-12-0a1b.iso"
    assert LAYOUT.trash == "/var/lib/vmd/trash"
    assert LAYOUT.fleet_id == "/var/lib/vmd/fleet-id"
    assert LAYOUT.capabilities == "/run/vmd/capabilities.json"


def longest_socket(layout: Layout, name: str) -> str:
    guest: GuestLayout = layout.guest(name)
    return max((guest.qmp, guest.monitor, guest.console, guest.vnc, guest.agent), key=len)


@pytest.mark.parametrize("over", [0, 1])
def test_a_socket_path_may_have_107_bytes(over: int) -> None:
    padding = SOCKET_PATH_LIMIT - len(longest_socket(Layout(Directories("/c", "/s", "/")), "a"))
    runtime = "/" + "ü" * (padding // 2) + "x" * (padding % 2 + over)
    layout = Layout(Directories("/c", "/s", runtime))
    assert len(longest_socket(layout, "a").encode()) == SOCKET_PATH_LIMIT + over
    if not over:
        layout.check_socket_length(["a"])
        return
    with pytest.raises(VmdError, match=r"has 108 bytes, and a socket's path may have 107; set VMD_RUNTIME_DIR"):
        layout.check_socket_length(["a"])


def test_the_daemons_own_socket_counts_without_guests() -> None:
    with pytest.raises(VmdError, match=r"/vmd\.sock has 12\d bytes"):
        Layout(Directories("/c", "/s", "/" + "x" * 110)).check_socket_length([])


def test_a_mac_follows_from_fleet_guest_and_nic() -> None:
    made = {mac(fleet, guest, nic) for fleet in "ab" for guest in ("alice", "bob") for nic in (0, 1)}
    assert len(made) == 8
    assert all(re.fullmatch(r"52:54:00(:[0-9a-f]{2}){3}", one) for one in made)
    assert mac("a", "alice", 0) == mac("a", "alice", 0)


def test_a_uuid_follows_from_fleet_and_guest() -> None:
    assert uuid.UUID(guest_uuid("a", "alice")).version == 5
    assert guest_uuid("a", "alice") == guest_uuid("a", "alice") != guest_uuid("b", "alice")
