"""Changes of a directory and of files, told by the kernel."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from vmd.host.watch import DirectoryWatch, FileWatch


class Told:
    """Counts the tellings, and waits for the next."""

    def __init__(self) -> None:
        self.times = 0
        self._news = asyncio.Event()

    def __call__(self) -> None:
        self.times += 1
        self._news.set()

    async def next(self) -> None:
        async with asyncio.timeout(20):
            await self._news.wait()
        self._news.clear()


@pytest.fixture
def told() -> Told:
    return Told()


Begin = Callable[[Path], DirectoryWatch]


@pytest.fixture
async def begin(told: Told) -> AsyncIterator[Begin]:
    watches = []

    def make(path: Path) -> DirectoryWatch:
        watches.append(DirectoryWatch(path, told, suffix=".yaml", quiet=0.05))
        return watches[-1]

    yield make
    for watch in watches:
        watch.close()


async def test_each_way_a_file_changes(tmp_path: Path, told: Told, begin: Begin) -> None:
    begin(tmp_path)
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    for change in (
        lambda: a.write_text("1"),
        lambda: a.write_text("2"),
        lambda: a.rename(b),
        lambda: b.chmod(0o600),
        lambda: a.symlink_to(b),
        b.unlink,
        lambda: _made(tmp_path / "new.tmp").replace(b),  # as editors write
    ):
        change()
        await told.next()


def _made(path: Path) -> Path:
    path.write_text("3")
    return path


async def test_many_changes_at_once_are_told_once(tmp_path: Path, told: Told, begin: Begin) -> None:
    begin(tmp_path)
    for number in range(200):
        (tmp_path / f"{number}.yaml").write_text("x")
    await told.next()
    assert told.times == 1


async def test_other_files_are_nobodys_business(tmp_path: Path, told: Told, begin: Begin) -> None:
    begin(tmp_path)
    (tmp_path / "a.yaml.swp").write_text("x")
    (tmp_path / "notes").mkdir()
    await asyncio.sleep(0)
    (tmp_path / "a.yaml").write_text("x")
    await told.next()
    assert told.times == 1


async def test_a_directory_that_comes_later(tmp_path: Path, told: Told, begin: Begin) -> None:
    path = tmp_path / "not" / "yet" / "there"
    begin(path)
    path.mkdir(parents=True)
    await told.next()
    (path / "a.yaml").write_text("x")
    await told.next()


async def test_a_directory_that_comes_step_by_step(tmp_path: Path, told: Told, begin: Begin) -> None:
    path = tmp_path / "not" / "yet" / "there"
    begin(path)
    for each in (tmp_path / "not", tmp_path / "not" / "yet", path):
        each.mkdir()
        await told.next()
    (path / "a.yaml").write_text("x")
    await told.next()


@pytest.mark.parametrize("how", ["removed", "moved away", "exchanged", "all the way"])
async def test_a_directory_that_is_replaced(tmp_path: Path, told: Told, begin: Begin, how: str) -> None:
    path = tmp_path / "etc" / "fleet.d"
    path.mkdir(parents=True)
    begin(path)
    if how == "removed":
        path.rmdir()
    elif how == "moved away":
        path.rename(tmp_path / "old")
    elif how == "all the way":
        shutil.rmtree(path.parent)
    else:
        (tmp_path / "new").mkdir()
        path.rmdir()
        (tmp_path / "new").rename(path)
    await told.next()
    path.mkdir(parents=True, exist_ok=True)
    (path / "a.yaml").write_text("x")
    await told.next()
    (path / "a.yaml").write_text("y")
    await told.next()


async def test_a_link_to_a_directory_that_is_turned(tmp_path: Path, told: Told, begin: Begin) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    path = tmp_path / "fleet.d"
    path.symlink_to("one")
    begin(path)
    (tmp_path / "turned").symlink_to("two")
    (tmp_path / "turned").replace(path)
    await told.next()
    (tmp_path / "two" / "a.yaml").write_text("x")
    await told.next()


async def test_a_watch_that_was_closed_says_nothing(tmp_path: Path, told: Told, begin: Begin) -> None:
    watch = begin(tmp_path)
    (tmp_path / "a.yaml").write_text("x")
    watch.close()
    watch.close()
    other = Told()
    begin(tmp_path)._changed = other
    (tmp_path / "a.yaml").write_text("y")
    await other.next()
    assert told.times == 0


async def test_a_file_that_grows(tmp_path: Path, told: Told) -> None:
    path = tmp_path / "log"
    path.write_text("")
    watch = FileWatch(pause=0.0)
    watch.add(path, told)
    await told.next()  # it may have grown before
    for _ in range(3):
        with path.open("a") as log:
            log.write("x")
        await told.next()
    watch.remove(path)
    watch.remove(path)
    watch.add(tmp_path / "nowhere", told)
    watch.close()
