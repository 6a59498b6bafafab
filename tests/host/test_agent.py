import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from vmd.errors import QemuFailed, TimedOut
from vmd.host import agent
from vmd.host.agent import ask
from vmd.host.dial import dial

from .conftest import Spawn

Babble = Callable[[bytes], Awaitable[Path]]


@pytest.fixture
async def real_agent(start: Spawn, tmp_path: Path) -> Path:
    """Run a qemu-ga outside of any guest: the same program, at the same end of a socket."""
    if not (program := shutil.which("qemu-ga", path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip("qemu-ga is not installed (Debian: qemu-guest-agent)")
    path = tmp_path / "qga"
    await start(program, "--method", "unix-listen", "--path", str(path), "--statedir", str(tmp_path))
    return path


@pytest.fixture
async def babble(tmp_path: Path) -> AsyncIterator[Babble]:
    """Answer whatever a hostile guest might answer."""
    servers: list[asyncio.Server] = []

    async def babble(words: bytes) -> Path:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(words)
            writer.close()

        servers.append(await asyncio.start_unix_server(answer, tmp_path / "qga"))
        return tmp_path / "qga"

    yield babble
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_the_agent_answers_again_and_again(real_agent: Path) -> None:
    for _ in range(2):
        assert await ask(real_agent, "guest-ping", timeout=60) == {}
    assert "version" in await ask(real_agent, "guest-info", timeout=60)
    handle = await ask(real_agent, "guest-file-open", timeout=60, path=__file__)
    content = await ask(real_agent, "guest-file-read", timeout=60, handle=handle, count=10)
    assert content["count"] == 10
    assert await ask(real_agent, "guest-file-close", timeout=60, handle=handle) == {}


async def test_what_the_agent_refuses_is_told(real_agent: Path) -> None:
    with pytest.raises(QemuFailed, match=r"refused guest-make-coffee: .*guest-make-coffee"):
        await ask(real_agent, "guest-make-coffee", timeout=60)
    with pytest.raises(QemuFailed, match="refused guest-shutdown"):
        await ask(real_agent, "guest-shutdown", timeout=60, answers=False, mode="sideways")


async def test_half_a_question_of_another_does_no_harm(real_agent: Path) -> None:
    with await dial(real_agent) as rude:
        rude.send(b'{"execute": "guest-pi')
    assert await ask(real_agent, "guest-ping", timeout=60) == {}


async def test_a_guest_without_an_agent_times_out(start_qemu: Spawn, tmp_path: Path) -> None:
    path = tmp_path / "qga"
    await start_qemu(
        *("-chardev", f"socket,id=qga0,path={path},server=on,wait=off"),
        *("-device", "virtio-serial-pci"),
        *("-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"),
    )
    (await dial(path)).close()  # it is up
    with pytest.raises(TimedOut, match=r"no guest agent answered guest-ping on .* within 0.05 s"):
        await ask(path, "guest-ping", timeout=0.05)


@pytest.mark.parametrize(
    "words",
    [b"", b"no delimiter\n", b"\xffno json\n", b"\xff[1]\n", b"\xff{", b"\xff" * 9, b"\xff" + b"[" * 99_999 + b"\n"],
    ids=["nothing", "text", "not-json", "list", "torn", "delimiters", "deep"],
)
async def test_babble_is_an_error_that_names_the_command(babble: Babble, words: bytes) -> None:
    with pytest.raises(QemuFailed, match="did not answer guest-ping properly"):
        await ask(await babble(words), "guest-ping", timeout=60)


async def test_an_answer_without_end_is_cut_off(babble: Babble) -> None:
    with pytest.raises(QemuFailed, match="did not answer guest-ping properly"):
        await ask(await babble(b"\xff" + b" " * (agent.LONGEST_ANSWER + 10)), "guest-ping", timeout=60)
