"""The verbs that lead to a guest by ssh: log in, and the settings for whoever else does.

A guest's host key was recorded at its installation. All settings here make that file the only one that counts, so
that nothing is asked and nothing is believed: ssh_config(5), OpenSSH 9.2.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import UsageError, VmdError
from ..protocol import Exit
from . import show
from .client import Json, daemon, route
from .keys import identities

Access = Mapping[str, Any]
"""``GET /v1/guests/NAME/ssh``."""


def ssh(arguments: Namespace) -> int:
    """Become ssh."""
    user, _, guest = arguments.guest.rpartition("@")
    access = daemon().get(route("guests", guest, "ssh"))
    if not access["verified"]:
        show.note(f"vmctl: {guest}'s host key is not known yet, and ssh accepts no other")
        show.note(f"  it is when {guest} has climbed to it: vmctl wait {guest} --for ssh")
    argv = command(access, arguments.user or user, [*arguments.words, *arguments.command], identities(os.environ))
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell; which ssh is the user's choice
    except FileNotFoundError as error:
        raise VmdError("there is no ssh", "install openssh-client") from error


def command(access: Access, user: str, words: Sequence[str], keys: Sequence[str]) -> tuple[str, ...]:
    """Make the line that logs in to a guest, and runs ``words`` there if there are any."""
    separator = ("--",) if words else ()
    return ("ssh", *_options(access, keys), "-l", user or access["user"], access["alias"], *separator, *words)


def _options(access: Access, keys: Sequence[str]) -> tuple[str, ...]:
    return ("-F", "none", *(f"-o{name}={value}" for name, value in settings(access, keys) if name != "User"))


def settings(access: Access, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what ssh must be told of a guest, as ssh_config has it."""
    if not access["known_hosts"]:
        raise VmdError(f"{access['name']} has no record of its host key", f"vmctl wait {access['name']} --for ssh")
    yield "HostName", str(access["host"])
    yield "Port", str(access["port"] or 22)
    yield "User", str(access["user"])
    yield "HostKeyAlias", str(access["alias"])
    yield "UserKnownHostsFile", _path(access["known_hosts"])
    yield "GlobalKnownHostsFile", "/dev/null"
    yield "StrictHostKeyChecking", "yes"
    yield "CheckHostIP", "no"
    yield "UpdateHostKeys", "no"
    for key in keys:
        yield "IdentityFile", _path(key)


def _path(path: str) -> str:
    """Quote a path for ssh_config: spaces part words, and ``%`` begins what ssh replaces."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(character in path for character in " \t\"'\\#") else escaped


def ssh_config(arguments: Namespace) -> int:
    """Print Host blocks."""
    found = [access for _, access in _reachable(arguments.guests) if access is not None]
    if arguments.json:
        show.facts({"guests": found})
        return Exit.DONE
    show_ssh_config(found, identities(os.environ))
    return Exit.DONE


def show_ssh_config(found: Sequence[Access], keys: Sequence[str]) -> None:
    """Write a Host block for each guest."""
    for access in found:
        show.line(f"Host {access['name']}")
        for name, value in settings(access, keys):
            show.line(f"  {name} {value}")


def _reachable(names: Sequence[str]) -> Iterator[tuple[Json, Json | None]]:
    """Yield guests, each with its ssh access: of those named everyone must have it, else who has none gets None."""
    asked = daemon()
    for guest in asked.get(route("guests", name=names))["guests"]:
        wanted = names or guest["ssh"]
        yield guest, asked.get(route("guests", guest["name"], "ssh")) if wanted else None


def inventory(arguments: Namespace) -> int:
    """Print ansible's dynamic inventory: of all guests, or the variables of one."""
    if arguments.host is not None and arguments.list:
        raise UsageError("say --list or --host NAME, not both")
    keys = identities(os.environ)
    if arguments.host is not None:
        show.facts(variables(daemon().get(route("guests", arguments.host, "ssh")), keys))
    else:
        show.facts(grouped(_reachable(()), keys))
    return Exit.DONE


def grouped(found: Iterator[tuple[Json, Json | None]], keys: Sequence[str]) -> Json:
    """Put guests in groups by state, with the variables of those that ssh can reach."""
    groups: dict[str, Json] = {}
    hosts: Json = {}
    for guest, access in found:
        groups.setdefault(guest["state"], {"hosts": []})["hosts"].append(guest["name"])
        hosts[guest["name"]] = variables(access, keys) if access else {}
    return {"_meta": {"hostvars": hosts}, "all": {"children": sorted(groups)}, **groups}


def variables(access: Access, keys: Sequence[str]) -> Json:
    """Make one guest's variables: ansible's ssh connection plugin splits the arguments as a shell would."""
    import shlex  # noqa: PLC0415 - this verb's alone

    return {
        "ansible_host": access["host"],
        "ansible_port": access["port"] or 22,
        "ansible_user": access["user"],
        "ansible_ssh_common_args": shlex.join(
            word for word in _options(access, keys) if not word.startswith(("-oHostName=", "-oPort="))
        ),
    }
