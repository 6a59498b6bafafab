"""Console output as text, however it comes in pieces."""

from __future__ import annotations

import re

import pytest

from vmd.lab.heard import LIMIT, Heard

SAID = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07naïve\r\nnext\r\r\nlast\x1b[6n\x00".encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(SAID)])
def test_escapes_go_whatever_the_pieces(size: int) -> None:
    heard = Heard()
    for start in range(0, len(SAID), size):
        heard.feed(SAID[start : start + size])
    assert heard.text == "red naïve\nnext\nlast"


def test_a_lone_escape_does_not_hold_back_all_that_follows() -> None:
    heard = Heard()
    heard.feed(b"\x1b]0;never ends" + b"x" * 300)
    heard.feed(b"login: ")
    assert heard.text.endswith("login: ")


def test_it_is_bounded_and_places_stay_true() -> None:
    heard = Heard()
    heard.feed(b"a" * LIMIT)
    place = heard.end
    heard.feed(b"b" * 10)
    assert len(heard.text) == LIMIT
    assert heard.since(place) == "b" * 10
    assert heard.end == LIMIT + 10
    assert heard.find(re.compile("a"), place) is None
    assert heard.find(re.compile("a"), 0)
