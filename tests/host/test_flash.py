"""A boot loader in a flash, as a little-endian and a big-endian malta want it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmd.errors import VmdError
from vmd.host.flash import flash, read


def test_words_are_swapped_for_a_little_endian_board() -> None:
    assert flash(b"\1\2\3\4\5\6", 12, swapped=True) == b"\4\3\2\1\xff\xff\6\5" + b"\xff" * 4
    assert flash(b"\1\2\3\4\5\6", 12, swapped=False) == b"\1\2\3\4\5\6" + b"\xff" * 6


@pytest.mark.parametrize("size", [0, 17])
def test_what_is_no_boot_loader_by_its_size_is_refused(size: int, tmp_path: Path) -> None:
    path = tmp_path / "u-boot.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(VmdError, match=rf"u-boot.bin can't be put into a flash: it has {size} bytes"):
        read(path, 16, swapped=True)


def test_one_that_is_not_there_says_which_package_has_it(tmp_path: Path) -> None:
    with pytest.raises(VmdError, match="u-boot-qemu"):
        read(tmp_path / "u-boot.bin", 16, swapped=True)
