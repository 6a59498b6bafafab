"""One program, run to its end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from vmd.errors import CommandFailed, TimedOut
from vmd.host import run as run_module
from vmd.host.credentials import Credentials
from vmd.host.run import run

PYTHON = sys.executable


async def test_returns_stdout_alone() -> None:
    assert await run(("sh", "-c", "echo out; echo err >&2"), timeout=10) == "out\n"


async def test_arguments_reach_the_program_untouched() -> None:
    assert await run(("printf", "%s|", "a b", "$HOME", "*", "c,d:e"), timeout=10) == "a b|$HOME|*|c,d:e|"


async def test_input_is_fed_and_ends() -> None:
    assert await run(("cat",), timeout=10, input=b"abc" * 100_000) == "abc" * 100_000


async def test_stdin_kept_open_does_not_end_before_the_program() -> None:
    script = "import os,select; os.read(0, 3); print(select.select([0], [], [], 0.3)[0])"
    assert await run((PYTHON, "-c", script), timeout=10, input=b"abc", goodbye=(1, b"bye")) == "[]\n"
    assert await run((PYTHON, "-c", script), timeout=10, input=b"abc") == "[0]\n"


async def test_the_last_word_is_said_when_enough_was_heard() -> None:
    script = "import os; print(1, flush=True); print(2, flush=True); print(os.read(0, 9))"
    assert await run((PYTHON, "-c", script), timeout=10, goodbye=(2, b"bye")) == "1\n2\nb'bye'\n"


async def test_a_program_that_does_not_read_its_input_is_no_fault() -> None:
    assert await run(("true",), timeout=10, input=b"x" * 1_000_000) == ""


async def test_failure_quotes_the_command_and_what_it_said() -> None:
    argv = ("sh", "-c", "echo out; echo err >&2; exit 3")
    with pytest.raises(CommandFailed) as failed:
        await run(argv, timeout=10)
    assert (failed.value.status, failed.value.output) == (3, "err\nout\n")
    assert str(failed.value).startswith("sh failed with exit status 3: sh -c 'echo out; echo err >&2; exit 3'")


async def test_a_status_that_is_no_failure() -> None:
    assert await run(("sh", "-c", "echo out; exit 3"), timeout=10, accept=(0, 3)) == "out\n"
    with pytest.raises(CommandFailed):
        await run(("true",), timeout=10, accept=(3,))


async def test_a_signal_is_told_from_an_exit_status() -> None:
    with pytest.raises(CommandFailed, match="killed by signal 15") as failed:
        await run(("sh", "-c", "kill -TERM $$"), timeout=10)
    assert failed.value.status == -15


async def test_missing_program() -> None:
    with pytest.raises(CommandFailed, match="vmd-no-such-program was not found") as failed:
        await run(("vmd-no-such-program", "x"), timeout=10)
    assert failed.value.status == 127


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_missing_program_behind_a_directory_closed_to_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin")
    with pytest.raises(CommandFailed) as failed:
        await run(("vmd-no-such-program",), timeout=10, user=Credentials(65534, 65534))
    assert failed.value.status == 127


async def test_program_without_execute_permission(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    with pytest.raises(CommandFailed, match="cannot be run") as failed:
        await run((str(plain),), timeout=10)
    assert failed.value.status == 126


def gone(pid: int) -> bool:
    """Ended, though perhaps not yet reaped by its new parent."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


async def wait_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while not gone(pid):  # noqa: ASYNC110 - another process's child: there is no event to wait for
            await asyncio.sleep(0.01)


FAMILY = 'sleep 1000 & echo $! >"$1"; echo started; wait'


async def test_timeout_kills_the_whole_family(tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match=r"did not end within 0.5 s: sh -c .*\nstarted"):
        await run(("sh", "-c", FAMILY, "sh", str(tmp_path / "pid")), timeout=0.5)
    await wait_gone(int((tmp_path / "pid").read_text()))


async def test_cancellation_kills_the_whole_family(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    task = asyncio.create_task(run(("sh", "-c", FAMILY, "sh", str(fifo)), timeout=100))
    pid = int(await asyncio.to_thread(fifo.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_gone(pid)


async def test_endless_output_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "OUTPUT_LIMIT", 100_000)
    with pytest.raises(CommandFailed, match="said more than 100000 bytes"):
        await run(("yes",), timeout=60)


async def test_environment_is_ours_with_additions() -> None:
    out = await run(("sh", "-c", 'echo "$LC_ALL $EXTRA $PATH"'), timeout=10, env={"EXTRA": "more"})
    assert out == f"C more {os.environ['PATH']}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_runs_as_another_user() -> None:
    user = Credentials(65534, 65533, (65532,))
    assert await run(("sh", "-c", "id -u; id -g; id -G"), timeout=10, user=user) == "65534\n65533\n65533 65532\n"


async def test_has_no_terminal_to_ask_at() -> None:
    with pytest.raises(CommandFailed):
        await run(("sh", "-c", "exec </dev/tty"), timeout=10)
