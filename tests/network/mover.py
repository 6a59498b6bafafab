"""What vmd does in a move, in a process of its own that can be killed after any message.

python mover.py RECORD SECONDS KILL: KILL is after how many messages to be killed, -1 for never.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vmd.host.link import move, rollback, wire
from vmd.host.link.facts import dump
from vmd.plan.bridge import plan_move, refusals


class Killed:
    """Sends as vmd does, and is killed when it has sent so many messages."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sent = 0
        self._send = wire.send

    def send(self, messages: Sequence[Any]) -> wire.Sent:
        room = self.limit - self.sent
        if len(messages) <= room or self.limit < 0:
            self.sent += len(messages)
            return self._send(messages)
        self._send(messages[:room])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")


def main(record: Path, seconds: float, limit: int) -> None:
    state = dump("nic0")
    assert not refusals(state, "br0"), refusals(state, "br0")
    planned = plan_move(state, "br0")
    gateways = move.answering("nic0", planned.gateways, 2.0)
    rollback.arm(record, planned.as_record(), seconds)
    killed = Killed(limit)
    for module in (wire, move):
        vars(module)["send"] = killed.send
    moved = move.apply(planned.as_record())
    sent = killed.sent
    answered = move.answering("br0", sorted(gateways), 3.0)
    assert answered == gateways, (answered, gateways)
    sys.stdout.write(f"{sent} {moved.messages} {moved.milliseconds:.2f} {len(gateways)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
