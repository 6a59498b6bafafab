import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmd.definition.units import LARGEST, format_duration, format_size, parse_duration, parse_size
from vmd.errors import UsageError

K, M, G, T, P = (1024**power for power in range(1, 6))


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1g", G),
        ("1G", G),
        ("40G", 40 * G),
        ("512M", 512 * M),
        ("1.5GiB", 3 * G // 2),
        ("1024k", M),
        ("2T", 2 * T),
        ("64MiB", 64 * M),
        ("64mb", 64 * M),
        ("1 G", G),
        (" 1G ", G),
        ("1P", P),
        ("512B", 512),
        ("1.1G", 1181116006 // 512 * 512),
    ],
)
def test_a_size_is_binary(written: str, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("512", "'512' is not a size: it has no unit"),
        (512, "512 is not a size: it has no unit"),
        ("1.5", "'1.5' is not a size: it has no unit"),
        ("-1G", "'-1G' is not a size"),
        ("1G\n", r"'1G\n' is not a size"),
        ("1E", "'1E' is not a size"),
        ("G", "'G' is not a size"),
        ("", "'' is not a size"),
        ("1..5G", "'1..5G' is not a size"),
        ("٣G", "'٣G' is not a size"),
        (True, "true is not a size"),
        (None, "nothing is not a size"),
        ([], "a list is not a size"),
        ({}, "a mapping is not a size"),
        ("x" * 1000, f"'{'x' * 67}...' is not a size"),
        ("0G", "0G is too small for a size"),
        ("0.1B", "0.1B is too small for a size"),
        ("2000P", "2000P is too large for a size"),
    ],
)
def test_what_is_no_size_says_so(written: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(written)
    assert caught.value.message == message
    assert caught.value.hint == "say 512M or 1G"


@given(st.integers(min_value=1, max_value=LARGEST))
def test_a_size_survives_being_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=1, max_value=1023), st.sampled_from("KMGTP"))
def test_the_shortest_writing_is_found(number: int, unit: str) -> None:
    assert format_size(parse_size(f"{number}{unit.lower()}ib")) == f"{number}{unit}"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30m", 1800.0),
        ("90s", 90.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("1d", 86400.0),
    ],
)
def test_a_duration_is_seconds(written: str, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("30", "'30' is not a duration: it has no unit"),
        (30, "30 is not a duration: it has no unit"),
        (1.5, "1.5 is not a duration: it has no unit"),
        ("30m\n", r"'30m\n' is not a duration"),
        ("m", "'m' is not a duration"),
        ("1h 30m", "'1h 30m' is not a duration"),
        ("0s", "0s is too short a time"),
        ("400d", "400d is too long a time"),
    ],
)
def test_what_is_no_duration_says_so(written: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(written)
    assert caught.value.message == message
    assert caught.value.hint == "say 90s, 30m or 1h30m"


@given(st.integers(min_value=1, max_value=366 * 86400 * 1000))
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


def test_no_time_is_written_as_such() -> None:
    assert format_duration(0) == "0s"
    assert format_duration(5400.25) == "1h30m250ms"
