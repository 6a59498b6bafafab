"""Restart policy: pure, so time is an argument and nothing sleeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmd.plan.restart import (
    ATTEMPTS,
    FAILURES,
    FIRST_DELAY,
    LONGEST_DELAY,
    STEADY,
    Again,
    Cause,
    End,
    Leave,
    Policy,
    after_end,
)

CRASH = End("crashed", 3.0)


@pytest.mark.parametrize(
    ("policy", "cause", "again"),
    [
        ("never", "crashed", False),
        ("never", "powered-off", False),
        ("on-failure", "powered-off", False),
        ("on-failure", "crashed", True),
        ("on-failure", "killed", True),
        ("on-failure", "panicked", True),
        ("always", "powered-off", True),
        ("always", "crashed", True),
        ("always", "stopped", False),
    ],
)
def test_a_policy_tells_the_ends_apart(policy: Policy, cause: Cause, again: bool) -> None:
    assert isinstance(after_end(policy, [End(cause, 3.0)]), Again if again else Leave)


def test_each_wait_doubles_up_to_five_minutes() -> None:
    verdicts = [after_end("always", [CRASH] * count) for count in range(1, ATTEMPTS + 1)]
    delays = [each.delay for each in verdicts if isinstance(each, Again)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_it_gives_up_and_says_why() -> None:
    verdict = after_end("always", [CRASH] * (ATTEMPTS + 1))
    assert isinstance(verdict, Leave)
    assert verdict.gave_up
    assert "11 times in a row" in verdict.why
    assert "crashed" in verdict.why


def test_a_steady_run_forgets_what_was_before() -> None:
    assert after_end("always", [*[CRASH] * 50, End("crashed", STEADY)]) == Again(FIRST_DELAY, 1)
    assert after_end("always", [*[CRASH] * 50, End("crashed", STEADY), CRASH]) == Again(FIRST_DELAY, 1)


ENDS = st.lists(st.builds(End, st.sampled_from(sorted(FAILURES)), st.floats(0, 2 * STEADY)), min_size=1)


@given(ENDS)
def test_a_wait_is_always_within_its_bounds(ends: list[End]) -> None:
    verdict = after_end("on-failure", ends)
    if isinstance(verdict, Again):
        assert FIRST_DELAY <= verdict.delay <= LONGEST_DELAY
        assert 1 <= verdict.attempt <= ATTEMPTS
    else:
        assert verdict.gave_up
