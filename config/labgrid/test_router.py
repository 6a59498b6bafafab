"""A test for labgrid, as labgrid's own documentation has it."""

from __future__ import annotations

from typing import Any


def test_shell(target: Any) -> None:
    """The guest is switched on, and its shell answers on the serial console."""
    power, shell = target.get_driver("PowerProtocol"), target.get_driver("ShellDriver", activate=False)
    power.cycle()
    target.activate(shell)
    assert shell.run_check("echo hello") == ["hello"]
    _, _, status = shell.run("false")
    assert status == 1
    target.deactivate(target.get_driver("ConsoleProtocol"))  # vmctl console ends with the guest
    power.off()
