"""The pytest plugin: ``lab`` is a mapping of the guests in the ``lab.yaml`` beside the test.

pytest loads it wherever vmd is installed, so what it needs of vmd is imported only where a test asks for a lab.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .bench import Lab
    from .labs import Labs

REMEMBERED = "vmd/facts"
"""Where pytest's cache keeps what is known of this host."""

LABS: pytest.StashKey[Labs] = pytest.StashKey()


@pytest.fixture(scope="session")
def vmd_labs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    """All labs of this test run; gone at its end, whatever it did."""
    from .labs import Labs  # noqa: PLC0415 - see above

    cache = request.config.cache
    known: dict[str, Any] = (cache.get(REMEMBERED, {}) if cache else None) or {}
    labs = Labs(tmp_path_factory.mktemp("lab"), known, lambda: cache.set(REMEMBERED, known) if cache else None)
    request.config.stash[LABS] = labs
    yield labs
    labs.close_all()


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, vmd_labs: Labs) -> Lab:
    """The guests of the ``lab.yaml`` beside the test, ready; they live as long as the module, or the session."""
    path = request.path.parent / "lab.yaml"
    # a yield would end a lab that did not start at once, before the report says what its guests said
    request.addfinalizer(lambda: vmd_labs.end_of_module(path))  # noqa: PT021
    return vmd_labs.get(path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a test that failed what its guests said and were."""
    made = yield
    labs = item.config.stash.get(LABS, None)
    lab = labs.open.get(item.path.parent / "lab.yaml") if labs else None
    if made.failed and lab and "lab" in getattr(item, "fixturenames", ()):
        from . import report  # noqa: PLC0415 - see above

        made.sections += list(report.sections(lab))
    return made
