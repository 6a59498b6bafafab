"""What a guest says on its console, as text to look for things in: no escape sequences, bounded."""

from __future__ import annotations

import asyncio
import codecs
import re

LIMIT = 1 << 20
"""Characters kept; the whole is in the transcript."""

ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window titles
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-OQ-WYZ`-~]"  # two characters
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x7f]"
)
UNFINISHED = re.compile(r"(?:\x1b[^\x07]{0,255}|\r+)\Z")
RETURNS = re.compile(r"\r+\n")


class Heard:
    """The text, from ``start`` on by its place in all that was ever said; what is older has been dropped."""

    def __init__(self) -> None:
        self.start, self.text = 0, ""
        self._pending = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._news = asyncio.Event()

    @property
    def end(self) -> int:
        """The place behind what was said last."""
        return self.start + len(self.text)

    def feed(self, data: bytes) -> None:
        """Take what was said next."""
        said = RETURNS.sub("\n", ESCAPES.sub("", self._pending + self._decoder.decode(data)))
        held = UNFINISHED.search(said)
        self._pending = said[held.start() :] if held else ""
        self.text += said[: held.start()] if held else said
        surplus = max(0, len(self.text) - LIMIT)
        self.start, self.text = self.start + surplus, self.text[surplus:]
        self.wake()

    def wake(self) -> None:
        """Have those who wait look again."""
        self._news.set()
        self._news = asyncio.Event()

    def since(self, place: int) -> str:
        """What was said from this place on, as far as it is kept."""
        return self.text[max(0, place - self.start) :]

    def find(self, pattern: re.Pattern[str], place: int) -> re.Match[str] | None:
        """Look for something from this place on."""
        return pattern.search(self.text, max(0, place - self.start))

    async def more(self) -> None:
        """Return when something was said, or whoever waits is to look again."""
        await self._news.wait()
