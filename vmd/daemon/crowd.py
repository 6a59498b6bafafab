"""How many clients there may be at once, so that thousands who say nothing don't keep out the one who does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import Refused

WAITING = 512
"""Clients that have not said yet what they want; of more, the one that has waited longest is sent away."""

STAYING = 1024
"""Clients that follow a stream or are at a console."""

STAYING_EACH = 256
"""The same, of one user."""


class Crowded(Refused):
    """There are too many clients already."""


class Crowd:
    """The clients of one socket."""

    def __init__(self) -> None:
        self._waiting: dict[object, Callable[[], None]] = {}  # in the order they came
        self._staying: Counter[int] = Counter()

    @contextmanager
    def waiting(self, send_away: Callable[[], None]) -> Iterator[None]:
        """While a client has not said what it wants; ``send_away`` ends it if others need its place."""
        if len(self._waiting) >= WAITING:
            oldest = next(iter(self._waiting))
            self._waiting.pop(oldest)()
        client = object()
        self._waiting[client] = send_away
        try:
            yield
        finally:
            self._waiting.pop(client, None)

    @contextmanager
    def staying(self, uid: int) -> Iterator[None]:
        """While a client of this user follows a stream or is at a console.

        :raise Crowded: there are too many already.
        """
        if self._staying[uid] >= STAYING_EACH or self._staying.total() >= STAYING:
            raise Crowded("too many clients follow what vmd says", "end some that follow events or a log")
        self._staying[uid] += 1
        try:
            yield
        finally:
            self._staying[uid] -= 1
            if not self._staying[uid]:
                del self._staying[uid]
