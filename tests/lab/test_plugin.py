"""The plugin in a pytest of its own, its guests of one sector each: they boot in a second."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.tiny import guests

pytest_plugins = ["pytester"]

LAB = """
guests:
  {names}
lab:
  scope: {scope}
  guests:
    {ready}
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("qemu-system-x86_64") or bool(guests.missing()),
    reason=guests.missing() or "qemu-system-x86_64 is not installed",
)


class Inner:
    """A directory of tests with a lab.yaml."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.disk = guests.disk(pytester.path / "tiny.raw")

    def lab(self, *names: str, scope: str = "module", ready: str = "'tiny: ready'", more: str = "") -> None:
        keys = "memory: 16M, accel: tcg, disk: {path: tinyNAME.raw, format: raw}" + more
        for name in names:
            shutil.copy(self.disk, self.pytester.path / f"tiny{name}.raw")
        (self.pytester.path / "lab.yaml").write_text(
            LAB.format(
                names="\n  ".join(f"{name}: {{{keys.replace('NAME', name)}}}" for name in names),
                ready="\n    ".join(f"{name}: {{ready: {ready}, timeout: 60}}" for name in names),
                scope=scope,
            )
        )

    def run(self, *words: str, **tests: str) -> pytest.RunResult:
        self.pytester.makepyfile(**{f"test_{name}": text for name, text in tests.items()})
        return self.pytester.runpytest_subprocess("-p", "no:asyncio", *words)


@pytest.fixture
def inner(pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inner:
    if importlib.util.find_spec("vmd.lab.plugin") is None:
        pytest.skip("vmd is not installed")
    monkeypatch.setenv("TMPDIR", str(short := tmp_path.parents[1] / f"l{abs(hash(tmp_path)) % 10**6}"))
    short.mkdir()
    return Inner(pytester)


def running(room: str) -> list[str]:
    """The processes that have a directory's name in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "qemu-system" in line and room in line:
            found.append(line)
    return found


def nothing_is_left() -> None:
    room = os.environ["TMPDIR"]
    assert running(room) == []
    assert list(Path(room).glob("vmd-lab-*")) == []


def test_guests_run_side_by_side_talk_and_are_gone(inner: Inner) -> None:
    inner.lab("alice", "bob")
    inner.run(
        talk="""
        def test_both(lab):
            assert sorted(lab) == ["alice", "bob"]
            for guest in lab.values():
                guest.console.send("w")
                guest.console.expect("tiny: written")
                assert guest.screenshot().read_bytes().startswith(b"\\x89PNG")
            assert lab["alice"].ssh_port != lab["bob"].ssh_port
        """
    ).assert_outcomes(passed=1)
    nothing_is_left()
    assert inner.disk.read_bytes() == (inner.pytester.path / "tinyalice.raw").read_bytes()


def test_a_failure_tells_what_the_guest_said_and_was(inner: Inner) -> None:
    inner.lab("alice")
    done = inner.run(
        fails="""
        def test_fails(lab):
            with lab["alice"].pcap():
                lab["alice"].link.cut()
                lab["alice"].link.mend()
            lab["alice"].console.send("f")
            lab["alice"].console.expect("no such words", timeout=0.5)
        """
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "*TimedOut: alice did not say 'no such words' within 0.5 s*",
            "*console of alice*",
            "*tiny: 0123456789*",
            "*QEMU line of alice*",
            "qemu-system-x86_64 *",
            "*screen of alice*",
            "*.png",
            "*captures of alice*",
            "*.pcap",
        ]
    )
    nothing_is_left()


def test_a_guest_that_is_never_ready_is_told_of_and_gone(inner: Inner) -> None:
    inner.lab("alice", ready="'never said'")
    text = (inner.pytester.path / "lab.yaml").read_text()
    (inner.pytester.path / "lab.yaml").write_text(text.replace("timeout: 60", "timeout: 3"))
    done = inner.run(waits="def test_waits(lab): pass")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*did not say 'never said' within 3 s*", "*console of alice*", "*tiny: ready*"])
    nothing_is_left()


def test_a_line_that_qemu_refuses_is_told_in_its_words(inner: Inner) -> None:
    inner.lab("alice", more=", cpu: no-such-cpu")
    done = inner.run(starts="def test_starts(lab): pass")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*QEMU did not start*no-such-cpu*"])
    nothing_is_left()


def test_guests_live_as_long_as_their_scope(inner: Inner) -> None:
    pid = "def test_it(lab):\n    open('pids', 'a').write(f\"{lab['alice']._life.run.process.pid} \")\n"
    inner.lab("alice", scope="session")
    inner.run(a=pid, b=pid).assert_outcomes(passed=2)
    inner.lab("alice", scope="module")
    inner.run(a=pid, b=pid).assert_outcomes(passed=2)
    one, other, third, fourth = (inner.pytester.path / "pids").read_text().split()
    assert one == other
    assert third != fourth


def test_a_reset_puts_memory_and_disk_back(inner: Inner) -> None:
    inner.lab("alice")
    inner.run(
        resets="""
        import pytest
        from vmd.errors import QemuFailed

        def test_reset(lab):
            alice = lab["alice"]
            alice.console.send("d")                 # deaf: the power button does nothing
            alice.console.expect("tiny: deaf")
            alice.reset()
            alice.power.button()                    # it hears again
            alice.console.expect("tiny: off")
            with pytest.raises(QemuFailed, match="it has powered off"):
                alice.console.expect("never")
            alice.reset()                           # from the dead
            alice.console.send("w")
            alice.console.expect("tiny: written")
            alice.power.cut()
            with pytest.raises(QemuFailed, match="does not run"):
                alice.console.send("w")
            alice.reset()                           # from nothing at all
            alice.console.send("w")
            alice.console.expect("tiny: written")

        def test_power(lab):
            lab["alice"].power.cut()
            lab["alice"].power.on()
            lab["alice"].wait_for("kernel")
            lab["alice"].console.send("w")
            lab["alice"].console.expect("tiny: written")
        """
    ).assert_outcomes(passed=2)
    nothing_is_left()


def test_the_power_fails_at_the_very_write(inner: Inner) -> None:
    inner.lab("alice")
    inner.run(
        sweeps="""
        def test_sweep(lab):
            alice, seen = lab["alice"], []
            for cut in alice.power_cuts(writes=range(1, 10)):
                done = 0
                with cut:
                    for _ in range(3):
                        alice.console.send("w")
                        alice.console.expect("tiny: written")
                        done += 1
                seen.append((cut.write, cut.happened, done))
                alice.console.send("w")             # it has booted again
                alice.console.expect("tiny: written")
            assert seen == [(1, True, 0), (2, True, 1), (3, True, 2), (4, False, 3)]
        """
    ).assert_outcomes(passed=1)
    nothing_is_left()


def test_a_fault_of_the_test_is_no_power_cut(inner: Inner) -> None:
    inner.lab("alice")
    done = inner.run(
        faults="""
        def test_fault(lab):
            for cut in lab["alice"].power_cuts(writes=[5]):
                with cut:
                    assert "a fault" == "of the test"
        """
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*AssertionError*", "*its power fails at write 5*"])
    nothing_is_left()


def test_nothing_is_left_when_pytest_is_killed(inner: Inner) -> None:
    inner.lab("alice")
    done = inner.run(dies="import os, signal\ndef test_dies(lab): os.kill(os.getpid(), signal.SIGKILL)\n")
    assert done.ret < 0
    deadline = time.monotonic() + 30
    while running(os.environ["TMPDIR"]):
        assert time.monotonic() < deadline


def test_no_guest_of_that_name(inner: Inner) -> None:
    inner.lab("alice")
    done = inner.run(asks="def test_asks(lab): lab['ruter']\n")
    done.stdout.fnmatch_lines(["*defines no guest ruter; it has alice*"])


def test_workers_of_xdist_have_guests_of_their_own(inner: Inner) -> None:
    if importlib.util.find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    inner.lab("alice")
    text = """
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_it(lab, n):
            lab["alice"].console.send("w")
            lab["alice"].console.expect("tiny: written")
    """
    inner.run("-n", "2", a=text, b=text).assert_outcomes(passed=4)
    nothing_is_left()
