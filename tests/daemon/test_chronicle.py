"""What happened, on a disk that is full, slow to fill, torn or not ours."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vmd.daemon.chronicle import Chronicle
from vmd.daemon.events import Events
from vmd.daemon.history import chain, told


def note(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "id": number,
        "time": float(number),
        "guest": None,
        "event": "note",
        "because": None,
        "text": "x",
        **facts,
    }


def ids(events: Any) -> list[int]:
    return [event["id"] for event in events]


async def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    chronicle = Chronicle(tmp_path / "events")
    for number in range(1, 100):
        chronicle.keep(note(number))
    await chronicle.close()
    again = Chronicle(tmp_path / "events")
    assert ids(again.recent()) == ids(again.whole()) == list(range(1, 100))
    await again.close()


async def test_two_files_of_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "events"
    chronicle = Chronicle(path, bound=2000)
    for number in range(1, 1000):
        chronicle.keep(note(number))
        if not number % 7:
            await chronicle.flush()
    await chronicle.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["events", "events.1"]
    assert all(each.stat().st_size <= 2000 for each in tmp_path.iterdir())
    kept = ids(chronicle.whole())
    assert kept == list(range(kept[0], 1000))
    assert len(kept) > 10


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The nearest to a full disk that needs no mount: a write beyond it takes a part, and then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


async def test_a_full_disk_is_said_once_and_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "events"
    chronicle = Chronicle(path)
    chronicle.keep(note(1))
    await chronicle.flush()
    whole = path.read_bytes()
    with no_file_larger_than(len(whole) + 10):
        for number in range(2, 20):
            chronicle.keep(note(number))
            await chronicle.flush()
        assert path.read_bytes() == whole
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    chronicle.keep(note(20))
    await chronicle.close()
    assert ids(chronicle.whole()) == list(range(1, 21))


async def test_lines_that_are_torn_or_garbage_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b'{"id": 1}\n\xff\xfe\n[]\n' + json.dumps(note(2)).encode() + b'\n{"id": 3, "ti')
    chronicle = Chronicle(path)
    assert ids(chronicle.recent()) == [2]
    chronicle.keep(note(3))
    await chronicle.close()
    assert ids(chronicle.whole()) == [2, 3]


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
async def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "events", tmp_path / "other"
    if kind == "link":
        other.write_text("precious\n")
        path.symlink_to(other)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    events = Events(Chronicle(path))
    events.emit("note", None, text="x")
    assert ids([event async for event in told(events, since=0.0)]) == [1]
    assert events.chronicle
    await events.chronicle.close()
    assert not other.exists() or other.read_text() == "precious\n"


async def test_looking_back_beyond_memory(tmp_path: Path) -> None:
    early = Chronicle(tmp_path / "events")
    early.keep(note(1, event="request", verb="up", guests=["alice"], user="dan", uid=1, gid=1, pid=1))
    early.keep(note(2, event="state", guest="alice", because=1, state="running"))
    for number in range(3, 9000):
        early.keep(note(number, guest="bob"))
    await early.close()
    events = Events(Chronicle(tmp_path / "events"))
    assert events.past[0]["id"] > 2
    events.emit("note", "bob", text="the newest")
    found = [event async for event in told(events, since=1.0)]
    assert ids(found) == list(range(1, 9001))
    assert ids([event async for event in told(events, since=2.0, guests=frozenset({"alice"}))]) == [2]
    assert ids(await chain(events, "alice")) == [2, 1]
    assert await chain(events, "carol") == []
    assert events.chronicle
    await events.chronicle.close()


async def test_a_chain_of_causes_that_is_a_circle_ends(tmp_path: Path) -> None:
    chronicle = Chronicle(tmp_path / "events")
    chronicle.keep(note(1, event="exit", guest="alice", because=2))
    chronicle.keep(note(2, event="state", guest="alice", because=1))
    await chronicle.close()
    events = Events(Chronicle(tmp_path / "events"))
    assert ids(await chain(events, "alice")) == [2, 1]
    assert events.chronicle
    await events.chronicle.close()
