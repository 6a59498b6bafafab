"""A stream of a packet a millisecond runs while a NIC is moved: IPv4 loses none, TCP never sends anything twice."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.network.conftest import Lan
from tests.network.test_move import moved
from vmd.host.link import rollback

TRAFFIC = str(Path(__file__).with_name("traffic.py"))


class Stream:
    """Traffic from the LAN to the host, under way."""

    def __init__(self, lan: Lan, address: str) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.server = lan.host.python(TRAFFIC, "serve", address, **pipes)
        assert self.server.stdout
        assert self.server.stdout.readline() == "ready\n"
        self.asker = lan.router.python(TRAFFIC, "ask", address, **pipes)
        assert self.asker.stdout
        assert self.asker.stdout.readline() == "flowing\n"

    def end(self) -> dict[str, Any]:
        said, _ = self.asker.communicate(timeout=60)
        assert self.server.wait(60) == 0
        seen: dict[str, Any] = json.loads(said)
        return seen


def streams(lan: Lan) -> dict[str, Stream]:
    return {"IPv4": Stream(lan, "10.99.0.2"), "IPv6": Stream(lan, "2001:db8:99::2")}


def there_and_back(lan: Lan, record: Path) -> dict[str, dict[str, Any]]:
    """What two streams saw of a move that was undone."""
    running = streams(lan)
    _, messages, milliseconds, gateways = moved(lan, record)
    assert int(gateways) == 3
    assert rollback.answer(record, b"undo") == rollback.UNDONE
    seen = {family: stream.end() for family, stream in running.items()}
    sys.stdout.write(f"{json.dumps(seen)} {messages} messages in {milliseconds} ms\n")
    return seen


def test_streams_survive(lan: Lan, tmp_path: Path) -> None:
    for seen in there_and_back(lan, tmp_path / "move.json").values():
        assert (seen["tcp_lost"], seen["errors"]) == (0, [])


@pytest.mark.boot
def test_nothing_is_lost(lan: Lan, tmp_path: Path) -> None:
    """The kernel drops a frame that comes in the very microseconds in which the NIC becomes a port, or no port."""
    rounds = [there_and_back(lan, tmp_path / f"{number}.json") for number in range(10)]
    for family, most in (("IPv4", 0), ("IPv6", 1)):
        assert statistics.median(seen[family]["lost"] for seen in rounds) <= most, rounds
        assert statistics.median(seen[family]["retransmitted"] for seen in rounds) == 0, rounds
