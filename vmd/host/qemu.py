"""What a QEMU binary can really do: asked of the binary itself, over QMP.

Versions promise little: distributions leave drivers out, and move devices into packages of their own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vmd.errors import CommandFailed, QemuFailed, VmdError
from vmd.host.credentials import Credentials
from vmd.host.run import run

PROBE = ("-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio", "-S")
QUESTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("hello", "qmp_capabilities", {}),
    ("target", "query-target", {}),
    ("kvm", "query-kvm", {}),
    ("machines", "query-machines", {}),
    ("options", "query-command-line-options", {}),
    ("schema", "query-qmp-schema", {}),
    ("devices", "qom-list-types", {"implements": "device", "abstract": False}),
    ("accelerators", "qom-list-types", {"implements": "accel", "abstract": False}),
    ("quit", "quit", {}),
)
"""What is asked, under the name the answer goes by. All of it takes 0.08 s with QEMU 7.2, 0.15 s with 10.0.
The dear ones are the schema (50 ms) and the first list of types (60 ms), which loads every module;
query-cpu-definitions (14 to 24 ms) is left out: nothing asks for it."""


@dataclass(frozen=True)
class Machine:
    """A board of this QEMU; ``cpu_max`` counts CPUs, ``alias`` is "" where it has none."""

    name: str
    alias: str
    deprecated: bool
    cpu_max: int


@dataclass(frozen=True)
class Capabilities:
    """What one QEMU binary has compiled in or can load.

    ``machines`` has each board under its own name; :meth:`machine` knows aliases too. ``options`` maps those
    command-line options that have sub-options QEMU lists (``sandbox``, ``run-with``, …) to them; it lists
    ``machine`` and a few others, not all.
    """

    binary: str
    version: tuple[int, int, int]
    version_text: str
    arch: str
    machines: Mapping[str, Machine]
    accelerators: frozenset[str]
    devices: frozenset[str]
    block_drivers: frozenset[str]
    netdevs: frozenset[str]
    chardevs: frozenset[str]
    objects: frozenset[str]
    commands: frozenset[str]
    options: Mapping[str, frozenset[str]]

    @property
    def vvfat(self) -> bool:
        """Whether it can make a FAT drive of a directory; some distributions leave that out."""
        return "vvfat" in self.block_drivers

    @property
    def kvm(self) -> bool:
        """Whether KVM is compiled in; whether it works here is :mod:`vmd.host.accel`'s question."""
        return "kvm" in self.accelerators

    @property
    def sandbox(self) -> bool:
        """Whether it has the seccomp sandbox."""
        return "elevateprivileges" in self.options.get("sandbox", frozenset())

    @property
    def run_with(self) -> bool:
        """Whether it can become another user by ``-run-with user=`` (not in 7.2, in 10.0)."""
        return "user" in self.options.get("run-with", frozenset())

    def machine(self, name: str) -> Machine | None:
        """Find the board of that name or alias: ``q35`` is ``pc-q35-7.2`` in QEMU 7.2."""
        if name in self.machines:
            return self.machines[name]
        return next((board for board in self.machines.values() if board.alias == name), None)

    def to_json(self) -> dict[str, Any]:
        """Give it a form that :mod:`json` can write, for the caller's cache."""
        plain = asdict(self)
        plain["machines"] = [asdict(board) for board in self.machines.values()]
        plain["options"] = {name: sorted(words) for name, words in self.options.items()}
        return {key: sorted(value) if isinstance(value, frozenset) else value for key, value in plain.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Capabilities:
        """Read back what :meth:`to_json` gave.

        :raise KeyError, TypeError, ValueError: it is not of this version's form; probe anew.
        """
        sets = ("accelerators", "devices", "block_drivers", "netdevs", "chardevs", "objects", "commands")
        major, minor, micro = plain["version"]
        boards = [Machine(**board) for board in plain["machines"]]
        return cls(
            **{
                **plain,
                **{key: frozenset(plain[key]) for key in sets},
                "version": (major, minor, micro),
                "machines": {board.name: board for board in boards},
                "options": {name: frozenset(words) for name, words in plain["options"].items()},
            }
        )


async def probe(binary: str, *, limit: float = 20.0, user: Credentials | None = None) -> Capabilities:
    """Ask a QEMU binary, in a process that lives a fifth of a second; ``limit`` is in seconds.

    :raise VmdError: there is no such binary; the hint names Debian's package.
    :raise QemuFailed: it started, and did not answer like a QEMU.
    :raise TimedOut: it did not answer in time.
    """
    questions = [json.dumps({"execute": name, "arguments": words}) for _, name, words in QUESTIONS]
    try:
        # The monitor drops what it has not said yet when it is told to quit: first the greeting and every answer.
        *asked, quit_ = (question.encode() + b"\n" for question in questions)
        goodbye = (1 + len(asked), quit_)
        out = await run((binary, *PROBE), timeout=limit, input=b"".join(asked), goodbye=goodbye, user=user)
    except CommandFailed as error:
        if error.status == 127:
            raise VmdError(f"{binary} was not found", f"install it: apt install {package(binary)}") from error
        raise QemuFailed(f"{binary} cannot be asked what it can do: {error}") from error
    try:
        return _capabilities(binary, *_answers(out))
    except (ValueError, LookupError, TypeError) as error:
        raise QemuFailed(f"{binary} did not answer like a QEMU: {out[:200]!r}", "is it a QEMU?") from error


def identity(binary: str) -> str:
    """Name this very file, for a cache of :func:`probe`: another build in its place has another identity.

    Modules in packages of their own (Debian's qemu-system-gui, qemu-block-extra) are not part of it.

    :raise VmdError: there is no such binary.
    """
    found = shutil.which(binary)
    if found is None:
        raise VmdError(f"{binary} was not found", f"install it: apt install {package(binary)}")
    path = Path(found).resolve()
    state = path.stat()
    return f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ino}"


def package(binary: str) -> str:
    """Name the Debian package (12 and 13) that has a ``qemu-system-ARCH``."""
    arch = Path(binary).name.removeprefix("qemu-system-")
    families = {"x86_64": "x86", "i386": "x86", "arm": "arm", "aarch64": "arm", "s390x": "s390x"}
    prefixes = {"mips": "mips", "ppc": "ppc", "sparc": "sparc"}
    family = next((name for prefix, name in prefixes.items() if arch.startswith(prefix)), "misc")
    return f"qemu-system-{families.get(arch, family)}"


def _answers(out: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a QMP conversation into its greeting and the answer to each question."""
    lines = [json.loads(line) for line in out.splitlines()]
    answers = [line for line in lines if "return" in line or "error" in line]
    names = (name for name, _, _ in QUESTIONS)
    return lines[0]["QMP"], {name: answer["return"] for name, answer in zip(names, answers, strict=True)}


def _capabilities(binary: str, greeting: dict[str, Any], told: dict[str, Any]) -> Capabilities:
    number, words = greeting["version"]["qemu"], greeting["version"]["package"]
    version = (number["major"], number["minor"], number["micro"])
    accelerators = {kind["name"].removesuffix("-accel") for kind in told["accelerators"]} - {"accel"}
    devices = {kind["name"] for kind in told["devices"]}
    schema = {entry["name"]: entry for entry in told["schema"]}
    boards = [_machine(board) for board in told["machines"]]
    return Capabilities(
        binary=binary,
        version=version,
        version_text=".".join(map(str, version)) + (f" ({words})" if words else ""),
        arch=told["target"]["arch"],
        machines={board.name: board for board in boards},
        accelerators=frozenset(accelerators if told["kvm"]["present"] else accelerators - {"kvm"}),
        devices=frozenset(name for name in devices if not name.endswith("-cpu")),
        block_drivers=_choices(schema, "blockdev-add", "driver"),
        netdevs=_choices(schema, "netdev_add", "type"),
        chardevs=_choices(schema, "chardev-add", "backend", "type"),
        objects=_choices(schema, "object-add", "qom-type"),
        commands=frozenset(name for name, entry in schema.items() if entry["meta-type"] == "command"),
        options={
            option["option"]: frozenset(word["name"] for word in option["parameters"])
            for option in told["options"]
            if option["option"] and option["parameters"]
        },
    )


def _machine(board: dict[str, Any]) -> Machine:
    return Machine(board["name"], board.get("alias", ""), board["deprecated"], board["cpu-max"])


def _choices(schema: dict[str, Any], command: str, *path: str) -> frozenset[str]:
    """List the words of an enumeration in a command's arguments; none where this QEMU lacks the command.

    QEMU hides type names behind numbers that change with each build, so the way there is by member names.
    """
    if command not in schema:
        return frozenset()
    kind = schema[command]["arg-type"]
    for name in path:
        kind = next(member["type"] for member in schema[kind]["members"] if member["name"] == name)
    # An enumeration has "members" since QEMU 6.2; the older "values" is deprecated, though still in 10.0.
    return frozenset(member["name"] for member in schema[kind]["members"])
