"""A log that another process appends to, kept from growing for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmd.errors import VmdError
from vmd.host.rotate import rotate


def test_a_log_within_its_bound_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 10)
    assert not rotate(log, 10)
    assert not rotate(tmp_path / "nowhere", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_whoever_appends_goes_on_at_the_new_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * 1000 + b"b" * 100)
        assert rotate(log, 100)
        assert log.read_bytes() == b""
        writer.write(b"c")
    assert log.read_bytes() == b"c"
    assert (tmp_path / "log.1").read_bytes() == b"b" * 100


def test_the_one_before_gives_way(tmp_path: Path) -> None:
    log, previous = tmp_path / "log", tmp_path / "log.1"
    precious = tmp_path / "precious"
    precious.write_bytes(b"x")
    previous.symlink_to(precious)
    log.write_bytes(b"y" * 11)
    assert rotate(log, 10)
    assert (previous.read_bytes(), previous.is_symlink()) == (b"y" * 10, False)
    assert precious.read_bytes() == b"x"


def test_the_bound_holds_where_nothing_can_be_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"y" * 11)
    (tmp_path / "log.1").mkdir()
    assert rotate(log, 10)
    assert log.read_bytes() == b""


def test_what_is_no_log_of_ours_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(precious)
    os.link(precious, tmp_path / "hard")
    for name in ("link", "hard"):
        with pytest.raises(VmdError):
            rotate(tmp_path / name, 10)
    assert precious.read_bytes() == b"x" * 100
