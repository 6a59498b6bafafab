"""Commands for a shell on a console, tried with the shells that there are."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from vmd.lab import shell
from vmd.lab.shell import Result

SHELLS = [("dash",), ("bash",), ("busybox", "sh")]
MARK = "cafe"


def ran(words: tuple[str, ...], *commands: str) -> list[Result]:
    """Have a real shell run commands as they would be typed, one after the other."""
    if not shutil.which(words[0]):
        pytest.skip(f"there is no {words[0]}")
    text = "".join(f"{line}\n" for n, command in enumerate(commands) for line in shell.typed(command, f"{MARK}{n}"))
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    return [answer(done.stdout, f"{MARK}{n}") for n in range(len(commands))]


def answer(said: str, token: str) -> Result:
    began = shell.begin(token).search(said)
    assert began, said
    ended = shell.end(token).search(said, began.end())
    assert ended, said
    return shell.result(said[began.end() : ended.start()], int(ended[1]), began[1])


@pytest.fixture(params=SHELLS, ids=lambda words: words[0])
def words(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


@pytest.mark.parametrize(
    ("command", "status", "stdout"),
    [
        ("true", 0, ""),
        ("false", 1, ""),
        ("echo hello", 0, "hello\n"),
        ("printf hello", 0, "hello"),
        ("printf '\\n\\nx\\n\\n'", 0, "\n\nx\n\n"),
        ("(exit 42)", 42, ""),
        ("echo \"a'b\" 'c\"d' 50% \\\\ '!!' $((6*7))", 0, "a'b c\"d 50% \\ !! 42\n"),
        ("printf '%s|' 'a\tb' 'ü'", 0, "a\tb|ü|"),
        ("for i in 1 2\ndo\n  echo $i\ndone\n", 0, "1\n2\n"),
        ("echo " + "x" * 5000, 0, "x" * 5000 + "\n"),
        ("echo out; echo err >&2 2>/dev/null; echo more", 0, "out\nmore\n"),
    ],
)
def test_a_command_keeps_its_words_status_and_output(
    words: tuple[str, ...], command: str, status: int, stdout: str
) -> None:
    [done] = ran(words, command)
    assert (done.status, done.stdout) == (status, stdout)


def test_the_shell_itself_runs_it(words: tuple[str, ...]) -> None:
    *_, where, what = ran(words, "cd /", "x=seven", "pwd", 'echo "$x"')
    assert (where.stdout, what.stdout) == ("/\n", "seven\n")


@pytest.mark.parametrize("command", ["if then (", "echo 'open", "no-such-command"])
def test_a_fault_is_a_status_and_not_the_end_of_the_shell(words: tuple[str, ...], command: str) -> None:
    broken, after = ran(words, command, "echo alive")
    assert broken.status
    assert after.stdout == "alive\n"


def test_no_line_is_longer_than_a_line_editor_takes() -> None:
    assert max(map(len, shell.typed("echo '%" * 1000, MARK))) < 512


def test_what_is_typed_does_not_look_like_an_answer() -> None:
    typed = "\n".join(shell.typed("true", MARK))
    assert not shell.begin(MARK).search(typed)
    assert not shell.end(MARK).search(typed)


def test_the_kernel_is_told_from_the_command_wherever_it_breaks_in() -> None:
    said = "first\nsec[   12.345678] usb 1-1: new device\nond\n[   12.400000][    T1] more\nlast\n"
    done = shell.result(said, 0, "12.30")
    assert done.stdout == "first\nsecond\nlast\n"
    assert done.kernel == ("[   12.345678] usb 1-1: new device", "[   12.400000][    T1] more")


def test_messages_that_were_asked_for_stay() -> None:
    said = "[    0.000000] Linux version 6.1\n[    1.000000] Run /init\n"
    assert shell.result(said, 0, "60.00").stdout == said


def test_without_a_clock_all_such_messages_are_the_kernels() -> None:
    done = shell.result("[    0.500000] late\nhello\n", 0, "")
    assert (done.stdout, done.kernel) == ("hello\n", ("[    0.500000] late",))
