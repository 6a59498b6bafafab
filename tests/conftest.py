"""Fixtures every room's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# a time limit for each example would measure the machine
settings.register_profile("vmd", deadline=None)
settings.load_profile("vmd")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="rewrite golden files instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with the file that holds what it should be.

    A missing file is a failure, never silently written: ``pytest --regenerate`` writes it, a human reads the diff.
    """
    regenerate = bool(request.config.getoption("--regenerate"))

    def compare(path: Path, text: str) -> None:
        if regenerate:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        if not path.exists():
            pytest.fail(f"no golden file {path}: write it with --regenerate, then read it")
        assert text == path.read_text(), f"differs from {path}; if that is meant, --regenerate and read the diff"

    return compare
