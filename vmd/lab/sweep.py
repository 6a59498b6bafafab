"""A guest whose power fails at its first write, at its second, and so on; and what it boots from then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType

from ..errors import QemuFailed
from .life import Life
from .loop import Loop

BEFORE = "sweep"
"""The snapshot that each run begins at."""


class Cut:
    """One failure of the power: ``happened`` says, afterwards, whether there were so many writes at all."""

    def __init__(self, life: Life, loop: Loop, write: int) -> None:
        self.write, self.happened = write, False
        self._life, self._loop = life, loop

    def __enter__(self) -> Cut:
        self._loop.call(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or isinstance(error, QemuFailed):
            self.happened = self._loop.call(self._end(certain=error is None))
            return error is None or self.happened
        return False

    async def _begin(self) -> None:
        await self._life.kill()
        await self._life.start(cut=self.write, restore=BEFORE)
        self._life.terminal.skip()

    async def _end(self, *, certain: bool) -> bool:
        """Boot it again. Where nothing failed, its power is cut now."""
        happened = self._life.run.cut
        if happened or certain:
            await self._life.kill()
            await self._life.start()
            await self._life.until_ready()
        return happened

    def __repr__(self) -> str:
        return f"<power cut at write {self.write}>"


def sweep(life: Life, loop: Loop, writes: Iterable[int]) -> Iterator[Cut]:
    """One cut after the other, until there are no more writes; afterwards it is where it was before.

    :raise ValueError: a write is counted from less than 1.
    """
    loop.call(life.snapshot("save", BEFORE))
    for write in writes:
        if write < 1:
            raise ValueError(f"writes are counted from 1, not {write}")
        cut = Cut(life, loop, write)
        yield cut
        if not cut.happened:
            break
    loop.call(_back(life))


async def _back(life: Life) -> None:
    await life.kill()
    await life.start(restore=BEFORE)
    await life.snapshot("delete", BEFORE)
    life.terminal.skip()
