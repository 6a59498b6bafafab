"""The verbs that print what is."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .. import __version__
from ..errors import VmdError
from ..protocol import Exit
from . import show
from .client import Json, daemon, route


def _answer(arguments: Namespace, target: str, render: Callable[[Json], None]) -> Json:
    body = daemon().get(target)
    if arguments.json:
        show.facts(body)
    else:
        render(body)
    return body


def list(arguments: Namespace) -> int:  # noqa: A001 - the verb's own name
    """Print the guests, a line each; a fault in a definition hides none."""
    _answer(arguments, route("guests"), show_names if arguments.names else show_list)
    return Exit.DONE


def show_names(body: Json) -> None:
    """Write the guests' names alone."""
    for guest in body["guests"]:
        show.line(str(guest["name"]))


def show_list(body: Json) -> None:
    """Write ``GET /v1/guests`` as a table."""
    rows = [_row(guest) for guest in body["guests"]]
    if rows:
        show.table(("NAME", "STATE", "RUNG", "ADDRESS", "SINCE", "NOTE"), rows)
    else:
        show.note("no guest is defined")
    show_faults(body)


def _row(guest: Mapping[str, Any]) -> tuple[str, ...]:
    addresses = guest["addresses"]
    return (
        guest["name"],
        guest["state"],
        guest["rung"] or "",
        show.place(addresses[0]) if addresses else "",
        show.ago(guest["since"]),
        guest["error"] or _paused(guest) or show.advance(guest["progress"]) or _pending(guest["pending"]),
    )


def _paused(guest: Mapping[str, Any]) -> str:
    return f"paused: {guest['paused']}" if guest.get("paused") else ""


def _pending(pending: Sequence[Any]) -> str:
    return f"pending: {', '.join(str(change) for change in pending)}" if pending else ""


def show_faults(body: Json) -> None:
    """Write the faults of the definitions, on stderr."""
    for fault in body["faults"]:
        show.note(str(fault))


def status(arguments: Namespace) -> int:
    """Print what is known of guests, in full."""
    _answer(arguments, route("guests", name=arguments.guests), show_status)
    return Exit.DONE


def show_status(body: Json) -> None:
    """Write ``GET /v1/guests`` in full: a paragraph for each guest."""
    for index, guest in enumerate(body["guests"]):
        if index:
            show.line()
        show.line(str(guest["name"]))
        for word, value in _details(guest):
            if value:
                show.line(f"  {word:<10} {value}")
    show_faults(body)


def _details(guest: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    since, ssh, pid = guest["since"], guest["ssh"], guest["pid"]
    return (
        ("state", guest["state"] + (f" since {show.clock(since)}, {show.ago(since)}" if since else "")),
        ("rung", guest["rung"] or ""),
        ("paused", guest.get("paused") or ""),
        ("doing", show.advance(guest["progress"])),
        ("error", (guest["error"] or "").replace("\n", f"\n{'':13}")),
        ("address", ", ".join(f"{show.place(found)} ({found['source']})" for found in guest["addresses"])),
        ("ssh", show.place({"address": ssh["host"], "port": ssh["port"]}) if ssh else ""),
        ("memory", show.size(guest["memory"]) if guest["memory"] else ""),
        ("cpus", str(guest["cpus"] or "")),
        ("pid", str(pid or "")),
        ("restarts", str(guest["restarts"] or "")),
        ("pending", ", ".join(str(change) for change in guest["pending"])),
        ("defined", guest["defined"] or ""),
    )


def ip(arguments: Namespace) -> int:
    """Print a guest's own addresses; of one behind forwarded ports, the host's, and the ports on stderr."""
    body = _answer(arguments, route("guests", name=arguments.guest), lambda body: show_ip(body["guests"][0]))
    return Exit.DONE if body["guests"][0]["addresses"] else Exit.FAILED


def show_ip(guest: Mapping[str, Any]) -> None:
    """Write the addresses of one guest.

    :raise VmdError: if it has none.
    """
    found = guest["addresses"]
    if not found:
        name = guest["name"]
        raise VmdError(f"{name} is {guest['state']} and has no address", f"vmctl wait {name} --for address")
    own = [address["address"] for address in found if address["port"] is None]
    for address in dict.fromkeys(own or [address["address"] for address in found]):
        show.line(address)
    if not own:
        show.note(f"{guest['name']} is reached by forwarded ports: {', '.join(show.place(each) for each in found)}")


def uboot(arguments: Namespace) -> int:
    """Print the lines to type at the U-Boot of the board that a guest stands for."""
    body = daemon().get(route("guests", arguments.guest, "uboot"))
    if arguments.json:
        show.facts(body)
        return Exit.DONE
    for line in body["lines"]:
        show.line(line)
    return Exit.DONE


def argv(arguments: Namespace) -> int:
    """Print the exact QEMU line, ready to paste."""
    body = daemon().get(route("guests", arguments.guest, "argv"))
    words = [str(word) for word in body["argv"]]
    if arguments.json:
        show.facts(words)
        return Exit.DONE
    import shlex  # noqa: PLC0415 - as errors does; named here for what it is

    show.line(shlex.join(words))
    return Exit.DONE


def plan(arguments: Namespace) -> int:
    """Print what would change and the steps; 1 if a guest can't be planned."""
    body = _answer(arguments, route("plan", name=arguments.guests), partial(show_plan, verbose=arguments.verbose))
    if any(guest["error"] for guest in body["guests"]):
        return Exit.FAILED
    changes = any(guest["due"] or guest["changes"] for guest in body["guests"])
    return CHANGES if changes and arguments.detailed_exitcode else Exit.DONE


CHANGES = 2
"""The exit status of ``plan --detailed-exitcode`` where there is something to do, as terraform has it."""


def show_plan(body: Json, verbose: bool = False) -> None:
    """Write ``GET /v1/plan``: a guest, and below it its changes, its steps, and its line's diff."""
    for guest in body["guests"]:
        if guest["error"]:
            show.blame(guest["name"], str(guest["error"]))
            continue
        show.line(f"{guest['name']}: {_verdict(guest)}")
        for change in guest["changes"]:
            words = f"{change['was']} → {change['now']} ({change['effect']}: {change['why']})"
            show.line(f"  {change['key']}: {words}")
        for step in guest["steps"]:
            show.line(f"  - {step['text']}")
        for upgrade in guest["upgrade"]:
            show.line(f"  vmctl upgrade {guest['name']} would change {upgrade}")
        for line in guest["argv_diff"] if verbose else ():
            show.line(f"    {line}")


def _verdict(guest: Json) -> str:
    if guest["state"] == "orphan":
        return "not defined any more; apply --prune would end it and move it to the trash"
    if guest["due"] == "up":
        return "to be led up"
    if guest["due"] == "change":
        return "to be changed while it runs"
    if guest["changes"]:
        return "pending"
    return "stopped, as it was told; up would" if guest["steps"] else "nothing to do"


def doctor(arguments: Namespace) -> int:
    """Print what this host can do; 1 if a check fails."""
    body = _answer(arguments, route("doctor"), show_doctor)
    return Exit.DONE if all(check["ok"] for check in body["checks"]) else Exit.FAILED


def show_doctor(body: Json) -> None:
    """Write ``GET /v1/doctor``: a line for each check, and below it how to mend what fails."""
    width = max((len(check["name"]) for check in body["checks"]), default=0)
    for check in body["checks"]:
        show.line(f"{'ok' if check['ok'] else 'NO':<3} {check['name']:<{width}}  {check['fact']}")
        if check["remedy"] and not check["ok"]:
            show.line(f"    {'':<{width}}  {check['remedy']}")
    show.line(f"guests run under {body['accel']}")


def version(arguments: Namespace) -> int:
    """Print the versions of both sides."""
    if not arguments.json:
        show.line(f"vmctl {__version__}")
    _answer(arguments, route("version"), lambda body: show.line(f"vmd {body['version']} (pid {body['pid']})"))
    return Exit.DONE
