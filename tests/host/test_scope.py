"""The scopes of guests: what systemd is asked, and what there is without it; tests/systemd shows that it does so."""

from __future__ import annotations

import os

import pytest

from vmd.errors import VmdError
from vmd.host.scope import Limits, Scopes, in_a_unit, is_in, unit


def test_limits_become_properties() -> None:
    said = tuple(Limits(cpu=1.5, memory=1 << 30, io=1000, disk="/srv").properties())
    assert said == (
        ("CPUQuotaPerSecUSec", "t", "1500000"),
        ("MemoryMax", "t", "1073741824"),
        ("MemorySwapMax", "t", "0"),
        ("IOReadBandwidthMax", "a(st)", "1", "/srv", "1000"),
        ("IOWriteBandwidthMax", "a(st)", "1", "/srv", "1000"),
    )
    assert tuple(Limits().properties()) == ()


def test_we_are_in_no_guest_s_scope() -> None:
    assert unit("alice") == "vmd-alice.scope"
    assert not is_in("alice", os.getpid())
    assert not is_in("alice", 0)


async def test_without_a_bus_it_says_so() -> None:
    if os.path.exists("/run/dbus/system_bus_socket"):  # noqa: PTH110 - one look
        pytest.skip("a system bus runs here")
    with pytest.raises(VmdError, match=r"systemd made no vmd-alice\.scope|busctl"):
        await Scopes().put("alice", os.getpid())
    await Scopes().register("alice", os.getpid(), "365e19b8-f6d1-5959-bb97-58b267727f51")


def test_a_unit_of_its_own_ends_with_the_program() -> None:
    assert in_a_unit(("true",))[-3:] == ("--slice=vmd.slice", "--", "true")
