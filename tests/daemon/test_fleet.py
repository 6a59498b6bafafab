"""A fleet of sixty tiny guests, and what may befall it: in the end it is as defined, and nothing is left over."""

from __future__ import annotations

from typing import Any

import pytest

from tests.daemon.house import Vmd, end

pytestmark = [pytest.mark.boot, pytest.mark.timeout(600)]

COUNT = 60
NAMES = [f"g{number:02}" for number in range(COUNT)]
GONE, NEW, CHANGED = NAMES[:3], ["new0", "new1", "new2"], NAMES[10:20]


def define(vmd: Vmd, *, changed: bool) -> list[str]:
    """Define the fleet; ``changed`` takes some guests out, puts some in, and gives some another CPU."""
    names = [*NAMES[len(GONE) :], *NEW] if changed else NAMES
    text = "".join(
        f"  {name}: {{{vmd.tiny(name)}, restart: on-failure{', cpus: 2' if changed and name in CHANGED else ''}}}\n"
        for name in names
    )
    vmd.define(f"start: {{parallel: 4}}\nguests:\n{text}")
    return names


def states(vmd: Vmd) -> dict[str, dict[str, Any]]:
    """All guests, by name."""
    return {guest["name"]: guest for guest in vmd.ctl("list", "--json").json["guests"]}


def kill_in_mid_apply(vmd: Vmd) -> None:
    """Have it make the fleet as defined, and kill it with -9 when it has begun to start the first guest."""
    vmctl = vmd.begin("apply", "--json", bufsize=0)
    assert vmctl.stdout is not None
    for line in vmctl.stdout:
        if b'"step.started"' in line:
            break
    else:
        raise AssertionError("apply did nothing")
    vmd.kill()
    vmctl.communicate()
    assert vmctl.returncode != 0


def test_a_fleet_is_as_defined_whatever_befell_it(home: Vmd) -> None:
    vmd = home
    define(vmd, changed=False)
    vmd.start()
    assert vmd.ctl("up", "--all", "--wait", "kernel").code == 0
    assert len(vmd.qemus()) == COUNT

    names = define(vmd, changed=True)
    kept = {name: guest["pid"] for name, guest in states(vmd).items() if name not in NEW}
    vmd.kill()
    killed = NAMES[len(GONE) :: 2]
    for name in killed:
        end(kept[name])
    for _ in range(2):
        vmd.start()
        kill_in_mid_apply(vmd)
    vmd.start()
    assert vmd.ctl("apply", "--wait", "kernel").code == 0

    now = states(vmd)
    assert {name for name, guest in now.items() if guest["state"] == "orphan"} == set(GONE)
    assert {name for name, guest in now.items() if guest["state"] == "running"} == set(names)
    assert sorted(guest["pid"] for guest in now.values()) == sorted(vmd.qemus())
    survived = set(kept) - set(killed)
    assert {name: now[name]["pid"] for name in survived} == {name: kept[name] for name in survived}
    assert {name for name in now if now[name]["pending"]} == {name for name in CHANGED if name in survived}
    assert "nothing to do" in vmd.ctl("apply").out

    assert vmd.ctl("apply", "--prune").code == 0
    assert set(states(vmd)) == set(names)
    assert vmd.ctl("down", "--all").code == 0
    assert {guest["state"] for guest in states(vmd).values()} == {"stopped"}
    assert vmd.qemus() == []
