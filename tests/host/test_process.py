import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vmd.errors import CommandFailed, VmdError
from vmd.host.credentials import Credentials, credentials_of
from vmd.host.process import Exit, Identity, Process, adopt, find, spawn

from .conftest import Spawn

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the user")


@pytest.fixture
def up(tmp_path: Path) -> Path:
    """A FIFO: to write to it waits for a reader, to read from it waits until the program has come so far."""
    os.mkfifo(tmp_path / "up")
    return tmp_path / "up"


async def written(up: Path) -> None:
    await asyncio.to_thread(up.read_bytes)


async def test_what_it_says_is_appended_to_its_log_and_its_status_is_told(start: Spawn, tmp_path: Path) -> None:
    for status in (0, 7):
        process = await start("sh", "-c", f"echo out{status}; echo err{status} >&2; exit {status}")
        assert await process.exited == Exit(status=status)
        assert str(await process.exited) == f"ended with exit status {status}"
        assert not process.alive
    assert (tmp_path / "log").read_text() == "out0\nerr0\nout7\nerr7\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


async def test_a_signal_ends_it_and_is_told(start: Spawn) -> None:
    process = await start("sleep", "1000")
    assert process.alive
    assert process.signal(signal.SIGUSR1)
    assert await process.exited == Exit(signal=signal.SIGUSR1)
    assert str(await process.exited) == "was killed by SIGUSR1"
    assert not process.signal(signal.SIGUSR1)


async def test_terminate_asks_first_and_then_kills(start: Spawn, up: Path) -> None:
    assert await (await start("sleep", "1000")).terminate(60) == Exit(signal=signal.SIGTERM)
    stubborn = await start("sh", "-c", f"trap '' TERM; echo > {up}; exec sleep 1000")
    await written(up)
    assert await stubborn.terminate(0.01) == Exit(signal=signal.SIGKILL)
    assert await stubborn.terminate(60) == Exit(signal=signal.SIGKILL)


async def test_who_stops_waiting_stops_nobody_else(start: Spawn) -> None:
    process = await start("sleep", "1000")
    impatient = asyncio.ensure_future(process.exited)
    patient = process.exited
    impatient.cancel()
    process.signal(signal.SIGKILL)
    assert await patient == Exit(signal=signal.SIGKILL)


async def test_it_has_a_session_of_its_own_and_none_of_our_descriptors(
    start: Spawn, tmp_path: Path, up: Path
) -> None:
    secret = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
    given, other = os.pipe()
    os.set_inheritable(secret, True)
    process = await start(
        "sh", "-c", f"echo > {up}; exec sleep 1000", pass_fds=(given,), env={"PATH": os.environ["PATH"]}
    )
    await written(up)
    links = {int(fd.name): str(fd.readlink()) for fd in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert set(links) == {0, 1, 2, given}
    assert links[0] == "/dev/null"
    assert os.getsid(process.pid) == process.pid
    assert b"HOME=" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    for fd in (secret, given, other):
        os.close(fd)


@as_root
async def test_it_runs_as_another_with_these_groups_and_no_more(start: Spawn) -> None:
    process = await start("sleep", "1000", user=Credentials(65534, 65534, (44, 45)), umask=0o027)
    while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":  # noqa: ASYNC110 - setpriv for a moment
        await asyncio.sleep(0)
    status = Path(f"/proc/{process.pid}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == ["65534"] * 4
    assert facts["Gid"].split() == ["65534"] * 4
    assert facts["Groups"].split() == ["44", "45"]
    assert facts["Umask"] == "0027"
    assert int(facts["CapEff"], 16) == 0


@pytest.mark.parametrize("die_with_parent", [False, True])
async def test_a_program_that_is_not_there_is_named(tmp_path: Path, die_with_parent: bool) -> None:
    with pytest.raises(CommandFailed, match="qemu-system-none was not found") as caught:
        await spawn(("qemu-system-none", "-S"), log=tmp_path / "log", die_with_parent=die_with_parent)
    assert caught.value.status == 127


async def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("no program")
    with pytest.raises(CommandFailed, match="Permission denied") as caught:
        await spawn((str(tmp_path / "program"),), log=tmp_path / "log")
    assert caught.value.status == 126
    with pytest.raises(CommandFailed, match=r"No such file or directory.*nowhere") as caught:
        await spawn(("true",), log=tmp_path / "log", cwd=tmp_path / "nowhere")
    assert caught.value.status == 126


async def test_a_log_that_is_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "log").symlink_to("target")
    with pytest.raises(VmdError, match="is a link"):
        await spawn(("echo", "spoilt"), log=tmp_path / "log")
    assert (tmp_path / "target").read_text() == "precious"


async def test_an_identity_survives_json_and_is_adopted(start: Spawn) -> None:
    process = await start("sleep", "1000")
    identity = Identity.from_record(json.loads(json.dumps(process.identity.as_record())))
    assert identity == process.identity
    adopted = adopt(identity)
    assert adopted is not None
    adopted.signal(signal.SIGKILL)
    await adopted.exited
    assert adopt(identity) is None


@pytest.mark.parametrize("record", [{}, {"pid": 0, "start_time": 1, "boot_id": "x"}, {"pid": "1"}])
def test_what_identifies_nothing_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(VmdError, match="identifies no process"):
        Identity.from_record(record)


async def test_another_start_or_another_boot_is_another_process(start: Spawn) -> None:
    here = (await start("sleep", "1000")).identity
    assert adopt(Identity(here.pid, here.start_time + 1, here.boot_id)) is None
    assert adopt(Identity(here.pid, here.start_time, "another")) is None


async def test_a_zombie_is_gone(tmp_path: Path) -> None:
    process = await spawn(("true",), log=tmp_path / "log")
    process.close()
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert adopt(process.identity) is None
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED)


STARTER = """
import asyncio, json, sys
from pathlib import Path
from vmd.host.process import spawn

async def main():
    script, log, die_with_parent = sys.argv[1:]
    process = await spawn(("sh", "-c", script), log=Path(log), die_with_parent=die_with_parent == "die")
    print(json.dumps(process.identity.as_record()), flush=True)
    await process.exited

asyncio.run(main())
"""


async def start_and_be_killed(tmp_path: Path, up: Path, how: str) -> Process | None:
    """Have another start a process, kill it once both run, and hold what it started, from before the kill."""
    argv = (sys.executable, "-c", STARTER, f"echo > {up}; exec sleep 1000", str(tmp_path / "log"), how)
    starter = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    held = adopt(Identity.from_record(json.loads(await starter.stdout.readline())))
    await written(up)
    starter.kill()
    await starter.wait()
    return held


async def test_it_outlives_a_starter_that_is_killed_and_is_adopted(tmp_path: Path, up: Path) -> None:
    held = await start_and_be_killed(tmp_path, up, "live")
    assert held is not None
    adopted = adopt(held.identity)
    assert adopted is not None
    assert held.alive
    assert await adopted.terminate(60) == Exit()
    assert await held.exited == Exit()
    assert str(Exit()) == "ended"


async def test_it_dies_with_its_parent_when_told_to(tmp_path: Path, up: Path) -> None:
    held = await start_and_be_killed(tmp_path, up, "die")
    assert held is not None
    await held.exited


async def test_one_whose_record_is_lost_is_found_by_its_command_line(tmp_path: Path) -> None:
    marked = tmp_path / "a, ünd mehr"
    marked.touch()
    process = await spawn(("tail", "-f", "", str(marked)), log=tmp_path / "log")
    try:
        (found,) = find(lambda argv: str(marked) in argv)
        assert found.identity == process.identity
        assert found.argv == ("tail", "-f", "", str(marked))
        assert find(lambda argv: str(tmp_path / "no such mark") in argv) == []
    finally:
        await process.terminate(60)


async def test_what_it_uses_is_told(start: Spawn, up: Path) -> None:
    process = await start(
        "sh", "-c", f"i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; echo > {up}; exec sleep 1000"
    )
    await written(up)
    usage = process.usage()
    assert usage is not None
    assert usage.cpu_seconds > 0
    assert usage.rss_bytes > 100_000
    await process.terminate(0)
    assert process.usage() is None


async def test_closing_leaves_it_running(tmp_path: Path) -> None:
    process = await spawn(("sleep", "1000"), log=tmp_path / "log")
    process.close()
    process.close()
    again = adopt(process.identity)
    assert again is not None
    assert await again.terminate(60) == Exit(signal=signal.SIGTERM)


def test_nobody_is_a_user_and_a_stranger_is_not() -> None:
    nobody = credentials_of("nobody")
    assert nobody.uid != 0
    assert nobody.gid in nobody.groups
    with pytest.raises(VmdError, match="there is no user no-such-user"):
        credentials_of("no-such-user")
