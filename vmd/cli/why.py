"""Why a guest is what it is: the chain of causes, told from now back to who asked."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from ..protocol import Exit
from . import show
from .client import Json, daemon, route
from .progress import sentence

Event = Mapping[str, Any]


def why(arguments: Namespace) -> int:
    """Tell what brought a guest where it is."""
    body = daemon().get(route("guests", arguments.guest, "why"))
    if arguments.json:
        show.facts(body)
    else:
        show_why(body)
    return Exit.DONE


def show_why(body: Json) -> None:
    """Write ``GET /v1/guests/NAME/why``: what it is, and a line for each cause, the nearest first."""
    name, chain = body["name"], body["chain"]
    if not chain:
        show.line(f"{name} is {body['state']}; nothing is known of how that came about")
        return
    newest, *causes = chain
    error = newest.get("error")
    since = f" since {show.clock(newest['time'])}, {show.ago(newest['time'])} ago"
    show.line(f"{name} is {body['state']}{since}{f': {error}' if error else ''}")
    for event in causes:
        show.line(f"  {told(event)}, at {show.clock(event['time'])}")


_BECAUSE: Mapping[str, Callable[[Event], str]] = {
    "request": lambda event: f"{event['user']} (uid {event['uid']}) asked for it with `{event['verb']}`",
    "daemon": lambda event: f"vmd itself was started, as process {event['pid']}",
    "step.started": lambda event: f"vmd did a step: {event['text']}",
    "step.failed": lambda event: f"a step failed: {event['text']}: {event['error']}",
    "restart": lambda event: f"vmd started it again, attempt {event['attempt']}",
    "gave-up": lambda event: f"vmd gave up: {event['text']}",
    "fleet": lambda _: "the definitions were read anew",
}
"""How a cause is told, where not as any event is."""


def told(event: Event) -> str:
    """Say a cause, led by ``because``."""
    say = _BECAUSE.get(event["event"])
    return f"because {say(event) if say else sentence(event) or event['event']}"
