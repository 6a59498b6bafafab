"""The ladder down, and what it leaves out where it can't be heard."""

from __future__ import annotations

from typing import Any

import pytest

from vmd.plan.goodbye import AskSsh, TypePoweroff
from vmd.plan.reconcile import AGENT_ANSWERS, PRESS_AGAIN, QUIT_TAKES, down
from vmd.plan.step import AskAgent, DiscardHalfMade, Kill, PressPower, Quit, Step

from .conftest import BOOT, DIR, DISK, guest, place

LADDER = (AskAgent(AGENT_ANSWERS, 30), PressPower(60, PRESS_AGAIN), Quit(QUIT_TAKES), Kill())
INSIDE = (AskSsh("root", 60), TypePoweroff(60))
DISCARD = DiscardHalfMade(f"{DIR}/disk.qcow2.tmp")
MALTA = {"machine": "malta", "boot": BOOT}
KERNEL = {"boot": BOOT}
PC = {"disk": "40G"}


@pytest.mark.parametrize(
    ("written", "observed", "steps"),
    [
        (PC, {"run_state": "running"}, LADDER),
        (PC, {"run_state": "running", "half_made": True}, LADDER),
        (MALTA, {"run_state": "running"}, (AskAgent(AGENT_ANSWERS, 60), *INSIDE, *LADDER[2:])),
        (KERNEL, {"run_state": "running"}, (LADDER[0], PressPower(30, PRESS_AGAIN), *INSIDE, *LADDER[2:])),
        (PC, {"run_state": "paused"}, LADDER[2:]),
        (PC, {"run_state": "shutdown"}, LADDER[2:]),
        (PC, {"run_state": "running", "installing": True, "half_made": True}, (*LADDER[2:], DISCARD)),
        (PC, {"run_state": "paused", "installing": True}, (*LADDER[2:], DISCARD)),
        (PC, {"installing": True}, (DISCARD,)),
        (PC, {"half_made": True}, (DISCARD,)),
        (PC, {"disk": DISK}, ()),
        (PC, {}, ()),
    ],
)
def test_the_steps_down(written: dict[str, Any], observed: dict[str, Any], steps: tuple[Step, ...]) -> None:
    alice = guest(**written)
    assert down(alice, place(alice, **observed), 60) == steps


def test_a_guest_that_is_no_longer_defined_is_asked_in_every_way() -> None:
    assert down(None, place(guest(**MALTA), run_state="running"), 60) == LADDER
