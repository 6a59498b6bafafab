"""The ssh client's programs, against a real sshd on a loopback port."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from vmd.errors import CommandFailed, Refused, VmdError
from vmd.host.run import run
from vmd.host.ssh import Answer, Banner, Verdict, banner, generate_key, known_hosts_line, quoted, verify

SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
LOOPBACK = "127.0.0.1"

needs_sshd = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")
needs_client = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="openssh-client is not installed")


class Server(NamedTuple):
    port: int
    key_type: str
    key: str


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An sshd with a host key of its own; it says its port before anything connects."""
    key, config, port = tmp_path / "host_key", tmp_path / "sshd_config", free_port()
    keygen = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    subprocess.run(keygen, check=True)
    lines = (f"ListenAddress {LOOPBACK}", f"Port {port}", f"HostKey {key}", "PidFile none", "UsePAM no")
    config.write_text("\n".join((*lines, "StrictModes no", "")))
    made = make_privsep_directory()
    with subprocess.Popen((str(SSHD), "-D", "-e", "-f", str(config)), stderr=subprocess.PIPE) as sshd:
        try:
            assert sshd.stderr
            line = sshd.stderr.readline()
            assert b"listening" in line, line + sshd.stderr.read()
            kind, material, *_ = key.with_suffix(".pub").read_text().split()
            yield Server(port, kind, material)
        finally:
            sshd.kill()
    if made:
        made.rmdir()


def make_privsep_directory() -> Path | None:
    """Run as root, sshd insists on a directory that its unit or init script would have made."""
    run_sshd = Path("/run/sshd")
    if os.geteuid() != 0 or run_sshd.exists():
        return None
    run_sshd.mkdir(mode=0o755)
    return run_sshd


@asynccontextmanager
async def listening(talk: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """A server of our own that treats each caller as told, and hangs up when that is done."""

    async def call(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk(writer)
        writer.close()

    async with await asyncio.start_server(call, LOOPBACK, 0) as running:
        yield running.sockets[0].getsockname()[1]


def saying(*parts: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def talk(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return talk


@needs_client
async def test_generate_key(tmp_path: Path) -> None:
    path = tmp_path / "a key, %h: id"
    public = await generate_key(path, comment="alice")
    assert public.startswith("ssh-ed25519 AAAA")
    assert public.endswith(" alice")
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await run(("ssh-keygen", "-y", "-P", "", "-f", str(path)), timeout=10)).strip() == public


@needs_client
@pytest.mark.parametrize("there", ["id", "id.pub"])
async def test_generate_key_overwrites_nothing(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(Refused, match=f"{there} exists already"):
        await generate_key(tmp_path / "id")
    assert (tmp_path / there).read_text() == "precious"


async def test_without_ssh_keygen_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandFailed, match="apt install openssh-client"):
        await generate_key(tmp_path / "id")


def test_known_hosts_line() -> None:
    assert known_hosts_line("vmd-alice", "ssh-ed25519", "AAAA+/=") == "vmd-alice ssh-ed25519 AAAA+/=\n"


@pytest.mark.parametrize("word", ["", "a b", "*", "a,b", "a\n* ssh-rsa AAAA", "!a", "@cert-authority", "ä"])
def test_known_hosts_line_is_one_line_for_one_host(word: str) -> None:
    for words in ((word, "t", "k"), ("a", word, "k"), ("a", "t", word)):
        with pytest.raises(VmdError, match="known_hosts"):
            known_hosts_line(*words)


@needs_sshd
async def test_banner_of_a_real_server(server: Server) -> None:
    found = await banner(LOOPBACK, server.port, 30)
    assert found.answer is Answer.SSH
    assert found.text.startswith("SSH-2.0-OpenSSH_")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((b"SSH-2.0-dropbear\r\n",), Banner(Answer.SSH, "SSH-2.0-dropbear")),
        ((b"welcome\r\nSS", b"H-2.0-x\r\n"), Banner(Answer.SSH, "SSH-2.0-x")),
        ((b"HTTP/1.1 400 Bad Request\r\n",), Banner(Answer.OTHER)),
        ((b"x" * 10_000,), Banner(Answer.OTHER)),
        ((b"SSH-2.0-cut off",), Banner(Answer.OTHER)),
        ((), Banner(Answer.CLOSED)),
    ],
)
async def test_what_answers(parts: tuple[bytes, ...], expected: Banner) -> None:
    async with listening(saying(*parts)) as port:
        assert await banner(LOOPBACK, port, 30) == expected


async def test_a_reset_is_closed() -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with listening(reset) as port:
        assert await banner(LOOPBACK, port, 30) == Banner(Answer.CLOSED)


async def test_silence_and_refusal() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        assert await banner(LOOPBACK, port, 0.1) == Banner(Answer.SILENT)
    assert await banner(LOOPBACK, port, 30) == Banner(Answer.REFUSED)


async def test_no_such_host() -> None:
    assert await banner("host.invalid.", 22, 30) == Banner(Answer.UNREACHABLE)


@needs_sshd
@pytest.mark.parametrize("name", ["known_hosts", "known hosts", "a%h,b:c", "~x", "back\\slash", "it's"])
async def test_verified(server: Server, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(known_hosts_line("vmd-alice", server.key_type, server.key))
    found = await verify(LOOPBACK, server.port, tmp_path / name, "vmd-alice", 30)
    assert found.verdict is Verdict.VERIFIED
    assert "Permission denied" in found.message


@needs_sshd
async def test_wrong_key(server: Server, tmp_path: Path) -> None:
    known, other = tmp_path / "known_hosts", await generate_key(tmp_path / "other")
    known.write_text(known_hosts_line("vmd-alice", *other.split()[:2]))
    before = known.read_text()
    found = await verify(LOOPBACK, server.port, known, "vmd-alice", 30)
    assert found.verdict is Verdict.WRONG_KEY
    assert known.read_text() == before


@needs_sshd
@pytest.mark.parametrize("there", [True, False])
async def test_a_key_known_under_another_name_is_unknown(server: Server, tmp_path: Path, there: bool) -> None:
    known = tmp_path / "known_hosts"
    if there:
        known.write_text(known_hosts_line("vmd-bob", server.key_type, server.key))
    found = await verify(LOOPBACK, server.port, known, "vmd-alice", 30)
    assert found.verdict is Verdict.UNKNOWN_KEY
    assert known.exists() == there


@needs_sshd
async def test_the_operators_agent_is_left_alone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "known_hosts").write_text(known_hosts_line("vmd-alice", server.key_type, server.key))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        found = await verify(LOOPBACK, server.port, tmp_path / "known_hosts", "vmd-alice", 30)
        agent.setblocking(False)
        with pytest.raises(BlockingIOError):
            agent.accept()
    assert found.verdict is Verdict.VERIFIED


@needs_client
async def test_no_answer(tmp_path: Path) -> None:
    found = await verify(LOOPBACK, free_port(), tmp_path / "known_hosts", "vmd-alice", 30)
    assert found.verdict is Verdict.NO_ANSWER
    assert "Connection refused" in found.message
    with socket.create_server((LOOPBACK, 0)) as listener:
        found = await verify(LOOPBACK, listener.getsockname()[1], tmp_path / "known_hosts", "vmd-alice", 0.3)
    assert found.verdict is Verdict.NO_ANSWER


async def test_a_name_that_ssh_cannot_quote() -> None:
    with pytest.raises(VmdError, match="choose another directory"):
        quoted(Path(tempfile.gettempdir()) / 'a"b')
