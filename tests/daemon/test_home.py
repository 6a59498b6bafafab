"""What guests of one daemon, and daemons of one host, share."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmd.daemon.events import Events
from vmd.daemon.facts import Facts
from vmd.daemon.home import Home
from vmd.definition.layout import Layout
from vmd.host.port import FORWARDED
from vmd.protocol import Directories


@pytest.fixture
def homes(tmp_path: Path) -> list[Home]:
    found = []
    for name in ("one", "other"):
        layout = Layout(Directories(*(str(tmp_path / name / each) for each in ("config", "state", "run"))))
        (tmp_path / name / "state").mkdir(parents=True)
        found.append(Home(layout, Events(), Facts(layout, None)))
    return found


def test_two_daemons_do_not_race_for_one_port(homes: list[Home]) -> None:
    names = [f"guest{number}" for number in range(20)]
    one, other = ([home.ssh_port(name, running=False) for name in names] for home in homes)
    assert set(one) | set(other) <= set(FORWARDED)
    assert sum(mine == yours for mine, yours in zip(one, other, strict=True)) < 5


def test_a_port_stays_a_guests_own(homes: list[Home]) -> None:
    home = homes[0]
    home.make_directories("alice")
    mine = home.ssh_port("alice", running=False)
    assert home.ssh_port("alice", running=False) == mine
    home.make_directories("bob")
    assert home.ssh_port("bob", running=False) != mine
