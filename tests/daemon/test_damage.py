"""Records that are torn, empty, garbage, of another kind or huge: they cost one guest a message, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.daemon.house import Vmd

RECORDS = ("booted.json", "lock.json", "install.json", "vmd.json", "disk.json", "ends.json")
DAMAGE: Mapping[str, Callable[[bytes], bytes]] = {
    "torn": lambda whole: whole[: len(whole) // 2],
    "empty": lambda _: b"",
    "garbage": lambda _: b"\x00\xff" * 600,
    "list": lambda _: b"[1, 2]",
    "strange": lambda _: (
        b'{"definition": 1, "process": [], "pins": [], "format": 7, "ends": 3, "fleet_id": [], "since": {}}'
    ),
    "huge": lambda whole: whole + b" " * (2 << 20),
    "binary": lambda _: bytes(4096),
}
HARMLESS = {"ends.json"}
"""What can be gone without: a count."""


def test_damage_is_one_guests_own(vmd: Vmd) -> None:
    names = {f"{record.split('.')[0]}-{kind}": (record, kind) for record in RECORDS for kind in DAMAGE}
    vmd.define_tiny("whole", *names)
    assert vmd.ctl("up", "whole", "--wait", "kernel").code == 0
    assert vmd.ctl("down", "whole").code == 0
    vmd.kill()
    for name, (record, kind) in names.items():
        path = vmd.guest(name)
        path.mkdir()
        for each in vmd.guest("whole").glob("*.json"):
            text = each.read_bytes().replace(b'"whole"', f'"{name}"'.encode())
            (path / each.name).write_bytes(text)
        source = vmd.guest("whole") / record
        (path / record).write_bytes(
            DAMAGE[kind](source.read_bytes() if source.exists() else b'{"process": {"pid": 1')
        )
    vmd.start()
    told = vmd.ctl("status", "--json").json["guests"]
    assert {guest["name"] for guest in told} == {"whole", *names}
    done = vmd.ctl("up", *names, "--wait", "process", "--json")
    outcome = done.events[-1]["guests"]
    for name, (record, _) in names.items():
        said = outcome[name]
        if record in HARMLESS:
            assert said["ok"], (name, said)
        else:
            assert not said["ok"], (name, said)
            assert record in f"{said['error']} {said['hint']}", (name, said)
            assert said["hint"] or ";" in said["error"], (name, said)
    done = vmd.ctl("up", "whole", "--wait", "kernel")
    assert done.code == 0, done.err
    assert len(vmd.ctl("list").out.splitlines()) == len(names) + 2


def test_a_record_moved_away_is_done_without(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    assert vmd.ctl("up", "alice", "--wait", "kernel").code == 0
    assert vmd.ctl("down", "alice").code == 0
    for record in ("booted.json", "lock.json", "disk.json"):
        (vmd.guest() / record).write_bytes(b"{")
        assert vmd.ctl("up", "alice").code == 1, record
        (vmd.guest() / record).unlink()
    done = vmd.ctl("up", "alice", "--wait", "kernel")
    assert done.code == 0, done.err
