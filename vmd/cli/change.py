"""The verbs that have the daemon do something, and tell how it goes."""

from __future__ import annotations

import os
from argparse import Namespace

from ..errors import UsageError, VmdError
from ..protocol import Exit
from . import show
from .client import BadAnswerError, Json, daemon, decoded, route
from .progress import watcher


def up(arguments: Namespace) -> int:
    """Have guests made and started."""
    from .keys import offered  # noqa: PLC0415 - this verb's, and restart's

    body = {**_targets(arguments), "keys": offered(os.environ), "wait": arguments.wait, "timeout": arguments.timeout}
    return _interruptible(arguments, body)


def restart(arguments: Namespace) -> int:
    """Have guests stopped and started."""
    from .keys import offered  # noqa: PLC0415 - this verb's, and up's

    body = {
        "guests": arguments.guests,
        "keys": offered(os.environ),
        "wait": arguments.wait,
        "timeout": arguments.timeout,
    }
    return _interruptible(arguments, body)


def apply(arguments: Namespace) -> int:
    """Have the whole fleet made as it is defined."""
    from .keys import offered  # noqa: PLC0415 - only those that start guests need it

    body = {"prune": arguments.prune, "wait": arguments.wait, "timeout": arguments.timeout}
    arguments.guests = []
    if not _due(arguments.prune):
        if not arguments.json:
            show.line("nothing to do")
        return Exit.DONE
    return _interruptible(arguments, {**body, "keys": offered(os.environ)})


def _due(prune: bool) -> list[Json]:
    """The guests there is something to do for."""
    guests = daemon().get(route("plan"))["guests"]
    return [guest for guest in guests if guest["due"] or (prune and guest["state"] == "orphan")]


def upgrade(arguments: Namespace) -> int:
    """Have guests see newer hardware from their next start."""
    return int(follow(arguments, {"guests": arguments.guests})["exit_code"])


def down(arguments: Namespace) -> int:
    """Have guests stopped."""
    body = {**_targets(arguments), "timeout": arguments.timeout}
    return _interruptible(arguments, {**body, "for_now": True} if arguments.for_now else body)


def rm(arguments: Namespace) -> int:
    """Have guests moved to the trash."""
    return int(follow(arguments, {"guests": arguments.guests})["exit_code"])


def wait(arguments: Namespace) -> int:
    """Wait for a rung."""
    body = {"guest": arguments.guest, "rung": arguments.rung, "timeout": arguments.timeout}
    return int(follow(arguments, body)["exit_code"])


def link(arguments: Namespace) -> int:
    """Have a cable pulled, or plugged in."""
    body = {"guest": arguments.guest, "nic": arguments.nic, "up": arguments.state == "up"}
    return int(follow(arguments, body)["exit_code"])


def iso(arguments: Namespace) -> int:
    """Have an ISO built; print where it is."""
    outcome = follow(arguments, {"release": arguments.release})
    if not outcome["ok"]:
        return int(outcome["exit_code"])
    path = str(outcome["path"])
    if arguments.output is not None:
        path = _copy(path, arguments.output)
    if not arguments.json:
        show.line(path)
    return Exit.DONE


def _copy(source: str, target: str) -> str:
    """Copy with the user's own rights; the target is there whole, or as it was."""
    import shutil  # noqa: PLC0415 - only this needs it
    from pathlib import Path  # noqa: PLC0415

    path = Path(target)
    path = path / Path(source).name if path.is_dir() else path
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(source, partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise VmdError(f"the ISO is built, at {source}, but can't be copied to {path}: {error.strerror}") from error
    return str(path)


def reload(arguments: Namespace) -> int:
    """Have the definitions read again; 2 if one of them is at fault."""
    body = daemon().post(route("reload"), {})
    if arguments.json:
        show.facts(body)
    else:
        show_reload(body)
    return Exit.USAGE if body["faults"] else Exit.DONE


def show_reload(body: Json) -> None:
    """Write ``POST /v1/reload``: which guests there are now, and what is wrong."""
    show.line(f"guests: {', '.join(body['guests']) or 'none'}")
    for fault in body["faults"]:
        show.note(str(fault))


def _targets(arguments: Namespace) -> Json:
    if bool(arguments.guests) == arguments.all:
        raise UsageError("name guests, or say --all" if not arguments.all else "name guests or say --all, not both")
    return {"guests": arguments.guests, "all": arguments.all}


def _interruptible(arguments: Namespace, body: Json) -> int:
    """Carry out a verb whose work goes on in the daemon after Ctrl-C, and say so then."""
    try:
        return int(follow(arguments, body)["exit_code"])
    except KeyboardInterrupt:
        show.note(farewell(arguments.verb.name, arguments.guests))
        raise


def farewell(verb: str, guests: list[str]) -> str:
    """Say, after Ctrl-C, that the work goes on, how to watch it and how to stop it."""
    names = " ".join(guests) or "--all"
    one = guests[0] if len(guests) == 1 else "NAME"
    watch = f"watch it: vmctl status {' '.join(guests)}".rstrip() + f", vmctl log -f {one}"
    stop = "" if verb == "down" else f"\n  stop it: vmctl down {names}"
    return f"\nvmctl: left; the daemon goes on with it\n  {watch}{stop}"


def follow(arguments: Namespace, body: Json) -> Json:
    """Tell the daemon, show what it says as it comes, and return the outcome.

    :raise BadAnswerError: if it ends without one.
    """
    outcome: Json = {}
    failed: Json = {}
    lines = daemon().lines("POST", route(arguments.verb.name), body)
    with watcher(as_json=arguments.json) as watch:
        for line in lines:
            event = decoded(line)
            watch.tell(event, line)
            outcome = event if event["event"] == "outcome" else outcome
            failed = event if event["event"] == "step.failed" else failed
    if not outcome:
        raise BadAnswerError("vmd ended before it said how it went", "the work may go on: vmctl status")
    if not arguments.json:
        show_outcome(outcome, failed)
    return outcome


def show_outcome(outcome: Json, failed: Json) -> None:
    """Write what became of each guest; where the outcome gives no reason, the last step that ``failed`` does."""
    for name, guest in outcome["guests"].items():
        if guest["ok"]:
            show.line(f"{name}: {guest['state']}{', ' if guest['rung'] else ''}{guest['rung'] or ''}")
            continue
        show.blame(name, str(guest["error"] or f"it is {guest['state']}"), guest["hint"] or "")
    if not outcome["ok"] and all(guest["ok"] for guest in outcome["guests"].values()):
        message = outcome.get("error") or failed.get("error") or "it failed, and vmd did not say why"
        show.complaint(str(message), outcome.get("hint") or failed.get("hint") or "")
