#!/usr/bin/env python3
"""Write the man pages vmctl(1), vmd(8) and vmd.yaml(5), from the tables and models that the programs themselves use.

usage: packaging/manual.py DIRECTORY
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vmd import __version__
from vmd.cli.arguments import VERBS, Option, Verb
from vmd.cli.parser import ABOUT, EXIT_CODES
from vmd.daemon.__main__ import parser
from vmd.definition.schema import json_schema
from vmd.definition.settings import Settings

SECTIONS = {"vmctl": 1, "vmd": 8, "vmd.yaml": 5}

FILES = (
    ("/etc/vmd/fleet.d/*.yaml", "The definitions of the system's daemon; ~/.config/vmd/fleet.d/ has a user's own."),
    ("/etc/vmd/vmd.yaml", "Who may talk to the system's daemon: vmd.yaml(5)."),
    ("/var/lib/vmd", "What guests have: disks, records, transcripts; ~/.local/state/vmd for a user's own daemon."),
    ("/run/vmd", "Sockets; $XDG_RUNTIME_DIR/vmd for a user's own daemon."),
)
VARIABLES = (("VMD_CONFIG_DIR, VMD_STATE_DIR, VMD_RUNTIME_DIR", "Directories to be used instead of those above."),)
SIGNALS = (
    ("SIGHUP", "The definitions and the settings are read again; so they are when a file changes."),
    ("SIGTERM, SIGINT", "vmd ends. Its guests go on, and the next vmd takes them over."),
)


def main() -> None:
    """Write each page into the directory that is named."""
    directory = Path(sys.argv[1])
    for name, page in (("vmctl", vmctl()), ("vmd", vmd()), ("vmd.yaml", vmd_yaml())):
        (directory / f"{name}.{SECTIONS[name]}").write_text("".join(f"{line}\n" for line in page))


# -- pages


def vmctl() -> Iterator[str]:
    """The page of section 1."""
    yield from _title("vmctl", "ask vmd, the daemon that keeps virtual machines")
    yield from _section("SYNOPSIS")
    yield r"\fBvmctl\fR \fIVERB\fR [\fIWORD\fR ...]"
    yield from _section("DESCRIPTION")
    yield _text(f"{ABOUT} What is meant for programs goes to stdout, progress and advice to stderr.")
    yield from _section("VERBS")
    for verb in VERBS:
        yield from _verb(verb)
    yield from _section("EXIT STATUS")
    for code in EXIT_CODES.removeprefix("exit codes: ").split(", "):
        number, _, meaning = code.partition(" ")
        yield from _item(number, meaning)
    yield from _places()
    yield from _also("vmd(8)", "vmd.yaml(5)", "ssh(1)", "qemu-system-x86_64(1)")


def vmd() -> Iterator[str]:
    """The page of section 8."""
    words = parser()
    yield from _title("vmd", "keep this machine's guests as they are defined")
    yield from _section("SYNOPSIS")
    yield r"\fBvmd\fR [\fIOPTION\fR ...]"
    yield from _section("DESCRIPTION")
    yield _text(
        "vmd reads definitions (vmd.yaml(5)) and makes, starts, watches and restarts the guests in them, as plain "
        "QEMU processes. It runs in the foreground: the system's daemon for root, a user's own for anybody else. "
        "Guests outlive it; the next vmd takes them over."
    )
    yield from _section("OPTIONS")
    for action in words._actions:
        value = "" if action.nargs == 0 else rf" \fI{_escaped(str(action.metavar))}\fR"
        spelled = ", ".join(rf"\fB{_escaped(word)}\fR{value}" for word in action.option_strings)
        yield from _tagged(
            spelled, (action.help or "").replace("show this help message and exit", "say this, and end")
        )
    yield from _section("SIGNALS")
    for name, meaning in SIGNALS:
        yield from _item(name, meaning)
    yield from _service()
    yield from _places()
    yield from _also("vmctl(1)", "vmd.yaml(5)", "systemd.resource-control(5)", "sd_notify(3)")


def _service() -> Iterator[str]:
    yield from _section("AS A SERVICE")
    yield _text(
        "Started by systemd, vmd says when it is ready and how its guests stand (systemctl status vmd), feeds the "
        "watchdog, and takes its control socket from vmd.socket. Each guest runs in a scope of its own, "
        "vmd-NAME.scope in vmd.slice, with the limits of its definition. vmd-guests.service powers the guests down "
        "when the host goes down; what is marked autostart is started after the next boot. Options go into "
        "VMD_OPTIONS in /etc/default/vmd. A user's own daemon is systemctl --user enable --now vmd; its guests "
        "outlive the last logout where loginctl enable-linger was said."
    )


def vmd_yaml() -> Iterator[str]:
    """The page of section 5."""
    schema = json_schema()
    yield from _title("vmd.yaml", "definitions of guests, and vmd's own settings")
    yield from _section("DESCRIPTION")
    yield _text(
        "Every file *.yaml in fleet.d in vmd's configuration directory is a part of one fleet. "
        "Relative paths are relative to the file they stand in. Sizes are binary and have a unit: 512M, 1.5GiB. "
        "Durations have one too: 90s, 1h30m. A name is a DNS label. vmctl check tells every fault at once, with its "
        "line; vmctl schema is the same as a JSON Schema. The least that works is"
    )
    yield from _code("guests:", "  alice: {memory: 1G, disk: 40G}")
    for key, value in schema["properties"].items():
        model = _model(schema, value)
        yield from _section(key.upper())
        yield _text(value.get("description") or model.get("description", ""))
        yield from _keys(schema, model)
    yield from _settings()
    yield from _files_section()
    yield from _also("vmd(8)", "vmctl(1)")


def _settings() -> Iterator[str]:
    yield from _section("SETTINGS")
    yield _text(
        "vmd.yaml in the configuration directory says who may talk to the daemon, besides root and the user it runs "
        "as. Without it the members of the group vmd may do everything."
    )
    schema = Settings.model_json_schema()
    yield from _keys(schema, schema)
    yield from _code("access:", "  read: {groups: [monitoring]}", "  write: {users: [dan], groups: [vmd]}")


# -- the keys of a definition


def _model(schema: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The model that a value, or each value of a mapping by name, is of."""
    for place in (value, value.get("additionalProperties") or {}):
        found = place.get("$ref")
        if found:
            return _resolved(schema, found)
    return value


def _resolved(schema: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    model: Mapping[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return next((each for each in model.get("anyOf", ()) if "properties" in each), model)


def _keys(schema: Mapping[str, Any], model: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Each key with what it means, and those below it, dotted."""
    for key, value in model.get("properties", {}).items():
        yield from _tagged(rf"\fB{_escaped(above + key)}\fR{_examples(value)}", _means(value))
        below = next(_references(value), None)
        if below:
            yield from _keys(schema, _resolved(schema, below), f"{above}{key}.")


def _means(value: Mapping[str, Any]) -> str:
    choices = value.get("enum")
    said = " ".join(str(value.get("description", "")).replace("``", "").split())
    return f"{said} One of {', '.join(map(str, choices))}." if choices else said


def _examples(value: Mapping[str, Any]) -> str:
    found = value.get("examples")
    return rf" (e.g. \fI{_escaped(str(found[0]))}\fR)" if found else ""


def _references(value: Any) -> Iterator[str]:
    """The models that a value may be of."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


# -- parts of a page


def _verb(verb: Verb) -> Iterator[str]:
    yield f".SS {_escaped(' '.join([verb.name, *map(_usage, verb.options)]))}"
    yield _text(f"{verb.help[0].upper()}{verb.help[1:]}.")
    if verb.details:
        yield ".PP"
        yield _text(verb.details)
    for option in verb.options:
        value = rf" \fI{_escaped(_metavar(option))}\fR" if _takes_value(option) else ""
        spelled = ", ".join(
            rf"\fB{_escaped(word)}\fR{value}" if word.startswith("-") else rf"\fI{_escaped(_metavar(option))}\fR"
            for word in option.spellings
        )
        yield from _tagged(spelled, option.help)


def _usage(option: Option) -> str:
    word = option.spellings[-1]
    if word.startswith("-"):
        return f"[{word} {_metavar(option)}]" if _takes_value(option) else f"[{word}]"
    many = {"*": f"[{_metavar(option)} ...]", "+": f"{_metavar(option)} ...", "?": f"[{_metavar(option)}]"}
    return many.get(str(option.settings.get("nargs")), _metavar(option))


def _takes_value(option: Option) -> bool:
    return option.spellings[0].startswith("-") and "action" not in option.settings


def _metavar(option: Option) -> str:
    return str(option.settings.get("metavar") or option.spellings[-1].lstrip("-").upper())


def _title(name: str, about: str) -> Iterator[str]:
    yield rf".\" made by packaging/manual.py from what {name} itself uses"
    yield f'.TH {name.upper()} {SECTIONS[name]} "" "vmd {__version__}" "vmd"'
    yield from _section("NAME")
    yield rf"{_escaped(name)} \- {_escaped(about)}"


def _section(name: str) -> Iterator[str]:
    yield f".SH {name}"


def _places() -> Iterator[str]:
    yield from _files_section()
    yield from _section("ENVIRONMENT")
    for name, meaning in VARIABLES:
        yield from _item(name, meaning)


def _files_section() -> Iterator[str]:
    yield from _section("FILES")
    for name, meaning in FILES:
        yield from _tagged(rf"\fI{_escaped(name)}\fR", meaning)


def _also(*pages: str) -> Iterator[str]:
    yield from _section("SEE ALSO")
    yield ", ".join(rf"\fB{_escaped(name)}\fR({section}" for name, section in (page.split("(") for page in pages))


def _item(name: str, meaning: str) -> Iterator[str]:
    yield from _tagged(rf"\fB{_escaped(name)}\fR", meaning)


def _tagged(tag: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield tag
    yield _text(text or "See above.")


def _code(*lines: str) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".nf", *map(_escaped, lines), ".fi", ".RE")


def _text(text: str) -> str:
    """A paragraph: a line that begins with a dot or a quote would be a request to troff."""
    escaped = _escaped(" ".join(text.split()))
    return rf"\&{escaped}" if escaped[:1] in {".", "'"} else escaped


def _escaped(text: str) -> str:
    return (
        text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("…", "...").replace("~", r"\(ti")
    )


if __name__ == "__main__":
    main()
