"""A vmd that kills itself, -9, at one point of one step: the whole daemon, and nothing else of it changed.

``VMD_TEST_CRASH`` is ``STEP:POINT``; the point is ``before`` and ``after`` a step, or ``spawned``: a QEMU runs, and
nothing has been written down about it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from vmd.daemon import execute
from vmd.daemon.__main__ import main
from vmd.daemon.events import Events

STEP, POINT = os.environ["VMD_TEST_CRASH"].split(":")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def emit(self: Events, event: str, guest: str | None, **facts: Any) -> Any:
    said = told(self, event, guest, **facts)
    here = facts.get("step") == STEP
    if here and POINT == "before" and event == "step.started":
        die()
    if here and POINT == "after" and event in {"step.done", "step.skipped", "step.failed"}:
        die()
    return said


async def spawn(*words: Any, **options: Any) -> Any:
    await spawned(*words, **options)
    die()


told, Events.emit = Events.emit, emit  # type: ignore[method-assign]
spawned = getattr(execute, "spawn")  # noqa: B009 - likewise
if POINT == "spawned":
    setattr(execute, "spawn", spawn)  # noqa: B010 - not exported, and this is no user of it

if __name__ == "__main__":
    sys.exit(main())
