"""Several people at one guest's console."""

from __future__ import annotations

import signal

from tests.daemon.house import Vmd, at_console


def test_it_echoes_what_is_typed(alice: Vmd) -> None:
    with at_console(alice) as console:
        console.type("12345")
        assert console.expect(b"12345") == b"12345"
        assert console.leave() == 0


def test_a_tail_is_replayed_where_it_is_asked_for(alice: Vmd) -> None:
    with at_console(alice, "alice", "--tail", "4096") as console:
        assert console.expect(b"tiny: ready\r\n") == b"tiny: ready\r\n"


def test_raw_replays_nothing(alice: Vmd) -> None:
    with at_console(alice, "alice", "--raw") as console:
        console.type("1")
        assert console.expect(b"1") == b"1"


def test_two_see_the_same(alice: Vmd) -> None:
    with at_console(alice) as one, at_console(alice) as other:
        one.type("1")
        one.expect(b"1")
        other.type("2")
        one.expect(b"2")
        other.expect(b"2")


def test_one_who_does_not_read_stops_nobody(alice: Vmd) -> None:
    with at_console(alice) as sleeper, at_console(alice) as other:
        sleeper.type("f")
        other.expect(b"tiny: 0")
        sleeper.vmctl.send_signal(signal.SIGSTOP)
        for _ in range(3000):
            other.expect(b"tiny: 0")
        other.type(" ")
        other.expect(b"tiny: ebb")
        sleeper.vmctl.send_signal(signal.SIGCONT)
        sleeper.expect(b"tiny: ebb")


def test_it_ends_with_the_guest(alice: Vmd) -> None:
    with at_console(alice) as console:
        console.type("o")
        console.expect(b"tiny: off")
        assert console.end() == 0


def test_a_guest_that_is_down_has_none(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    done = vmd.ctl("console", "alice")
    assert done.code == 1
    assert "vmctl up alice" in done.err
