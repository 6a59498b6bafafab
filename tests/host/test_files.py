import json
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from vmd.errors import Refused, VmdError
from vmd.host.files import (
    RECORD_LIMIT,
    Lock,
    append_line,
    boot_id,
    make_directory,
    open_regular,
    read_record,
    remove_tree,
    write_atomic,
    write_record,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_write_atomic_leaves_the_content_the_mode_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a, b: c"
    write_atomic(path, "one")
    write_atomic(path, b"two", mode=0o644)
    assert path.read_bytes() == b"two"
    assert mode_of(path) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_is_private_unless_told_otherwise(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", "")
    assert mode_of(tmp_path / "f") == 0o600


def test_the_longest_file_name_can_be_written(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("n" * 255), "x")
    assert (tmp_path / ("n" * 255)).read_text() == "x"


def test_write_atomic_replaces_a_link_and_spares_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to("target")
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "precious"
    assert not (tmp_path / "link").is_symlink()


def test_a_failed_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "taken" / "by").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "taken", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@as_root
def test_a_file_gets_its_owner(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", "x", mode=0o640, owner=(65534, 65534))
    found = (tmp_path / "f").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 65534, 0o640)


def test_a_record_comes_back(tmp_path: Path) -> None:
    record = {"name": "älice", "argv": ["qemu", "a,b"], "nothing": None, "n": 1 << 60}
    write_record(tmp_path / "r", record)
    assert read_record(tmp_path / "r") == record


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert read_record(tmp_path / "r") is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b'{"name": "al', "is not JSON"),
        (b"\x00" * 4096, "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "holds no JSON object"),
        (b" " * (RECORD_LIMIT + 1), "is larger than"),
    ],
    ids=["empty", "torn", "nul", "not-utf8", "deep", "list", "huge"],
)
def test_what_is_no_record_is_named_with_a_remedy(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(VmdError, match=fault) as caught:
        read_record(tmp_path / "r")
    assert str(tmp_path / "r") in caught.value.message
    assert "move it away" in caught.value.hint


def test_a_record_too_large_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(VmdError, match="a record may have"):
        write_record(tmp_path / "r", {"x": "x" * RECORD_LIMIT})
    assert not (tmp_path / "r").exists()


def test_neither_link_nor_fifo_nor_second_name_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    (tmp_path / "soft").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    for name in ("soft", "fifo"):
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND):
            with pytest.raises(VmdError, match="is a link or no regular file"):
                open_regular(tmp_path / name, flags)
    (tmp_path / "hard").hardlink_to(tmp_path / "file")
    with pytest.raises(VmdError, match="is a link or no regular file"):
        read_record(tmp_path / "hard")


def test_lines_are_appended_one_by_one(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two\nand\r\na half")
    assert (tmp_path / "log").read_text() == "one\ntwo and a half\n"


def test_a_directory_and_those_above_it_get_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "guests" / "alice"
    make_directory(path, 0o750, below=tmp_path)
    assert (mode_of(path), mode_of(path.parent)) == (0o750, 0o750)


def test_a_directory_already_there_is_put_right_and_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o777)
    (tmp_path / "d" / "f").write_text("x")
    make_directory(tmp_path / "d", 0o700)
    assert mode_of(tmp_path / "d") == 0o700
    assert (tmp_path / "d" / "f").read_text() == "x"


@as_root
def test_a_directory_gets_its_owner(tmp_path: Path) -> None:
    make_directory(tmp_path / "d", 0o700, owner=(65534, 65534))
    found = (tmp_path / "d").stat()
    assert (found.st_uid, found.st_gid) == (65534, 65534)


@pytest.mark.parametrize("component", ["guests", "guests/alice"])
def test_a_link_in_the_way_down_is_refused(tmp_path: Path, component: str) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    link = tmp_path / "root" / component
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VmdError, match=f"{link.name} in .* is a link"):
        make_directory(tmp_path / "root" / "guests" / "alice", 0o700, below=tmp_path / "root")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert mode_of(tmp_path / "elsewhere") == 0o755


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("")
    with pytest.raises(VmdError, match="no directory"):
        make_directory(tmp_path / "d")


def test_remove_tree_takes_links_and_spares_their_targets(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "f").write_text("x")
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "link").symlink_to(tmp_path / "precious")
    remove_tree(tmp_path / "d")
    remove_tree(tmp_path / "d")
    assert not (tmp_path / "d").exists()
    assert (tmp_path / "precious" / "f").exists()
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(VmdError, match="is a link"):
        remove_tree(tmp_path / "link")


def test_a_second_holder_is_refused_and_told_who(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock", "this state directory"):
        with pytest.raises(Refused, match=f"locked by process {os.getpid()}") as caught:
            Lock(tmp_path / "lock", "this state directory").acquire()
        assert "this state directory" in caught.value.hint
    with Lock(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def _hold_and_be_killed(path: Path) -> None:
    Lock(path).acquire()
    os.kill(os.getpid(), 9)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holder = multiprocessing.get_context("spawn").Process(target=_hold_and_be_killed, args=(tmp_path / "lock",))
    holder.start()
    holder.join()
    assert holder.exitcode == -9
    assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"
    with Lock(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    holder.close()


def test_the_boot_has_a_name_that_stays() -> None:
    assert boot_id() == boot_id()
    assert len(json.dumps(boot_id())) == 38
