"""File systems at rest, for as short as may be: an agent in a guest, as hosts see it, that does as a test says.

A real agent outside of a guest would freeze the file systems of whoever runs the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vmd.host import backup
from vmd.host.backup import at_rest


class Agent:
    """Keeps what it was asked; what is in ``silent`` it never answers, what is in ``refuses`` it refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[str] = []
        self.silent: set[str] = set()
        self.refuses: set[str] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            question = json.loads(line.removeprefix(b"\xff"))
            command = question["execute"]
            if command == "guest-sync-delimited":
                writer.write(b"\xff" + json.dumps({"return": question["arguments"]["id"]}).encode() + b"\n")
                continue
            self.asked.append(command)
            if command in self.refuses:
                writer.write(b'{"error": {"desc": "no"}}\n')
            elif command not in self.silent:
                writer.write(b'{"return": 2}\n')
        writer.close()


@pytest.fixture
async def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Agent]:
    monkeypatch.setattr(backup, "FREEZE_TAKES", 0.3)
    agent = Agent(tmp_path / "agent")
    server = await asyncio.start_unix_server(agent.talk, agent.path)
    yield agent
    server.close()
    await server.wait_closed()


WHOLE = ["guest-ping", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


async def test_they_are_let_go_at_once(agent: Agent) -> None:
    async with at_rest(agent.path) as frozen:
        assert frozen
        assert agent.asked == WHOLE[:2]
    assert agent.asked == WHOLE


async def test_they_are_let_go_whatever_happens(agent: Agent) -> None:
    with pytest.raises(KeyError):
        async with at_rest(agent.path):
            raise KeyError
    assert agent.asked == WHOLE


async def test_a_freeze_that_does_not_answer_may_come_late(agent: Agent) -> None:
    agent.silent = {"guest-fsfreeze-freeze"}
    async with at_rest(agent.path) as frozen:
        assert not frozen
    assert agent.asked == WHOLE


async def test_a_freeze_that_is_refused(agent: Agent) -> None:
    agent.refuses = {"guest-fsfreeze-freeze"}
    async with at_rest(agent.path) as frozen:
        assert not frozen


async def test_to_let_go_is_tried_again(agent: Agent) -> None:
    agent.refuses = {"guest-fsfreeze-thaw"}
    async with at_rest(agent.path):
        pass
    assert agent.asked == [*WHOLE, *WHOLE[2:] * 2]


async def test_they_are_let_go_when_the_backup_is_given_up(agent: Agent) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with at_rest(agent.path):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert agent.asked == WHOLE


async def test_a_guest_without_an_agent(tmp_path: Path) -> None:
    for path in (None, tmp_path / "nobody"):
        async with at_rest(path) as frozen:
            assert not frozen
