"""How facts look."""

from __future__ import annotations

import pytest

from vmd.cli import show


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (-1, "0.0 s"),
        (0.14, "0.1 s"),
        (12.7, "12 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert show.duration(seconds) == said


@pytest.mark.parametrize(
    ("octets", "said"),
    [(0, "0 B"), (64 << 20, "64 MiB"), (1 << 30, "1 GiB"), (3 << 29, "1.5 GiB"), (1 << 50, "1024 TiB")],
)
def test_sizes(octets: int, said: str) -> None:
    assert show.size(octets) == said


@pytest.mark.parametrize(
    ("address", "port", "said"),
    [
        ("10.0.2.15", None, "10.0.2.15"),
        ("127.0.0.1", 2222, "127.0.0.1:2222"),
        ("::1", 22, "[::1]:22"),
        ("::1", None, "::1"),
    ],
)
def test_places(address: str, port: int | None, said: str) -> None:
    assert show.place({"address": address, "port": port}) == said


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (None, ""),
        ({"done": 3, "total": 7, "text": "unpacking", "seconds": 12.3}, "3/7 unpacking, 12 s"),
        ({"done": 0, "total": None, "text": "unpacking", "seconds": None}, "unpacking"),
    ],
)
def test_progress(progress: dict[str, object] | None, said: str) -> None:
    assert show.advance(progress) == said


def test_a_guests_words_do_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show.line("a\x1b]0;owned\x07\x9b2Jb\tc")
    show.complaint("x\x1b[2J", "y\r\nz\x7f")
    said = capsys.readouterr()
    assert not {"\x1b", "\x07", "\x9b", "\r", "\x7f"} & set(said.out + said.err)
    assert said.out.endswith("b\tc\n")


def test_a_table_is_as_wide_as_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("NAME", "STATE"), [("alice", "running"), ("b", "")])
    assert capsys.readouterr().out == "NAME   STATE\nalice  running\nb\n"


def test_a_cell_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("NAME", "NOTE"), [("alice", "one\ntwo")])
    assert capsys.readouterr().out == "NAME   NOTE\nalice  one two\n"
