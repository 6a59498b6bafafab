"""Taps in a namespace: there as long as somebody holds them, back in a bridge that was made anew."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.network.conftest import Namespace
from vmd.definition.layout import tap as tap_name
from vmd.errors import VmdError
from vmd.host.link.facts import find
from vmd.host.link.ports import Port, Ports
from vmd.host.link.segment import make_segment, remove_segment
from vmd.host.link.tap import close, open_tap, plug, unplug

BRIDGE_MAC, GUEST_MAC = "02:00:00:00:09:01", "52:54:00:12:34:56"


def link(name: str) -> dict[str, Any]:
    found = find(name)
    assert found, f"no {name}"
    return found


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_tap_is_there_while_it_is_held(netns: Namespace) -> None:
    queues = open_tap("vmt0", queues=2)
    assert len(queues) == 2
    assert "vmt0" in netns.links()
    close(queues[:1])
    assert "vmt0" in netns.links()
    close(queues[1:])
    assert netns.links() == {"lo"}


def test_tap_outlives_us_in_another_process(netns: Namespace) -> None:
    (queue,) = open_tap("vmt0")
    script = "import sys; sys.stdin.read()"
    holder = subprocess.Popen((sys.executable, "-c", script), pass_fds=[queue], stdin=subprocess.PIPE)
    close([queue])
    assert "vmt0" in netns.links()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert netns.links() == {"lo"}


def test_plugged_tap(netns: Namespace) -> None:
    make_segment("seg", BRIDGE_MAC)
    queue = open_tap("vmt0")
    netns.ip("link set seg mtu 1400")
    for _ in range(2):
        plug("vmt0", "seg", GUEST_MAC, ["alice/lan"])
    found = link("vmt0")
    assert (found["master"], found["mtu"], found["up"]) == ("seg", 1400, True)
    assert found["mac"] == "fe:54:00:12:34:56"
    assert found["altnames"] == ["alice/lan"]
    assert "inet6" not in netns.ip("addr show dev vmt0")
    assert link("seg")["mac"] == BRIDGE_MAC
    unplug("vmt0")
    assert link("vmt0")["master"] == ""
    close(queue)


@pytest.mark.parametrize(
    ("tap", "bridge", "message"),
    [("vmt9", "seg", "no tap vmt9"), ("vmt0", "none", "no bridge none"), ("vmt0", "lo", "no bridge lo")],
)
def test_what_is_missing_is_named(netns: Namespace, tap: str, bridge: str, message: str) -> None:
    make_segment("seg", BRIDGE_MAC)
    queue = open_tap("vmt0")
    with pytest.raises(VmdError, match=message):
        plug(tap, bridge, GUEST_MAC)
    close(queue)


def test_tap_that_cannot_be_made_leaves_nothing(netns: Namespace) -> None:
    before = descriptors()
    queue = open_tap("vmt0")
    with pytest.raises(VmdError, match=r"vmt0 can't be made.*; another process"):
        open_tap("vmt0")
    with pytest.raises(VmdError, match="no name for a tap"):
        open_tap("a" * 16)
    close(queue)
    assert descriptors() == before
    assert netns.links() == {"lo"}


def test_two_hundred_taps_leave_nothing(netns: Namespace) -> None:
    make_segment("seg", BRIDGE_MAC)
    before = descriptors()
    for guest in range(200):
        name = tap_name("fleet", f"guest{guest}", 0)
        queue = open_tap(name)
        plug(name, "seg", GUEST_MAC)
        close(queue)
    assert netns.links() == {"lo", "seg"}
    assert descriptors() == before


def test_two_hundred_taps_at_a_time_are_lost_with_their_process(netns: Namespace) -> None:
    """Killed with -9, as vmd's guests may be."""
    make_segment("seg", BRIDGE_MAC)
    script = (
        "import sys\n"
        "from vmd.host.link.tap import open_tap, plug\n"
        "from vmd.definition.layout import tap\n"
        "for number in range(200):\n"
        "    name = tap('fleet', f'guest{number}', 0)\n"
        "    open_tap(name)\n"
        f"    plug(name, 'seg', '{GUEST_MAC}')\n"
        "print('made', flush=True)\n"
        "sys.stdin.read()\n"
    )
    holder = netns.python("-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdout.readline() == "made\n"
    assert len(netns.links()) == 202
    holder.kill()
    holder.communicate()
    assert netns.links() == {"lo", "seg"}


async def test_tap_is_back_in_a_bridge_made_anew(netns: Namespace) -> None:
    make_segment("seg", BRIDGE_MAC)
    queue = open_tap("vmt0")
    with Ports() as ports:
        ports.keep(Port("vmt0", "seg", GUEST_MAC))
        remove_segment("seg")
        await asyncio.sleep(0)
        assert link("vmt0")["master"] == ""
        make_segment("seg", BRIDGE_MAC)
        async with asyncio.timeout(30):
            while link("vmt0")["master"] != "seg":  # noqa: ASYNC110 - the loop is what puts it back
                await asyncio.sleep(0)
        ports.forget("vmt0")
        assert not ports.kept
    close(queue)


def test_names_are_short_stable_and_different() -> None:
    names = {tap_name(fleet, guest, index) for fleet in "ab" for guest in ("alice", "bob") for index in range(3)}
    assert len(names) == 12
    assert all(len(name) <= 15 for name in names)
    assert tap_name("a", "alice", 0) == tap_name("a", "alice", 0)


def test_altname_can_be_found_by(netns: Namespace) -> None:
    queue = open_tap("vmt0")
    make_segment("seg", BRIDGE_MAC)
    plug("vmt0", "seg", GUEST_MAC, ["alice/lan", "alice.lan"])
    (found,) = json.loads(netns.run("ip", "-j", "link", "show", "alice.lan"))
    assert found["ifname"] == "vmt0"
    assert found["altnames"] == ["alice/lan", "alice.lan"]
    close(queue)
