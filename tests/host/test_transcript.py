import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vmd.errors import VmdError
from vmd.host.transcript import CHUNK, follow, read_from


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


@contextlib.asynccontextmanager
async def following(log: Path, changed: asyncio.Event | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
    reader = follow(log, changed=changed.wait if changed else None)
    yield reader
    await reader.aclose()  # type: ignore[attr-defined]


async def whole(log: Path, start: int = 0) -> bytes:
    return b"".join([data async for data in follow(log, start=start, follow=False)])


async def test_without_following_it_ends_at_the_end(log: Path) -> None:
    assert await whole(log) == b""
    content = bytes(range(256)) * (CHUNK // 100)
    log.write_bytes(content)
    assert await whole(log) == content
    assert await whole(log, 1000) == content[1000:]
    assert await whole(log, -1000) == content[-1000:]
    assert await whole(log, -len(content) * 2) == content


async def test_it_waits_for_the_file_and_then_for_more(log: Path) -> None:
    async with following(log) as reader:
        first = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        assert not first.done()
        log.write_bytes(b"one")
        assert await first == b"one"
        with log.open("ab") as file:
            file.write(b"two")
        assert await anext(reader) == b"two"


async def test_it_goes_on_when_told_even_if_the_log_lags(log: Path) -> None:
    output = asyncio.Event()
    async with following(log, output) as reader:
        nothing_yet = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        output.set()
        await asyncio.sleep(0)
        output.clear()
        log.write_bytes(b"late")
        assert await nothing_yet == b"late"


async def test_one_cut_short_is_read_from_its_beginning(log: Path) -> None:
    log.write_bytes(b"a long one")
    async with following(log) as reader:
        assert await anext(reader) == b"a long one"
        log.write_bytes(b"short")
        assert await anext(reader) == b"short"


async def test_one_that_is_replaced_is_read_to_its_end_first(log: Path) -> None:
    log.write_bytes(b"one")
    async with following(log) as reader:
        assert await anext(reader) == b"one"
        with log.open("ab") as file:
            log.rename(log.with_suffix(".1"))
            file.write(b" and the rest of it")
        log.write_bytes(b"two")
        assert await anext(reader) == b" and the rest of it"
        assert await anext(reader) == b"two"


async def test_a_link_is_not_followed(log: Path) -> None:
    log.symlink_to("/etc/passwd")
    with pytest.raises(VmdError, match="is a link"):
        await whole(log)


def test_a_part_of_it_is_read(log: Path) -> None:
    assert read_from(log, 0, 10) == b""
    log.write_bytes(b"0123456789")
    assert read_from(log, 3, 4) == b"3456"
    assert read_from(log, 30, 4) == b""
