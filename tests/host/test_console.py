import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from vmd.errors import QemuFailed, TimedOut
from vmd.host.console import TAIL, Attachment, Console
from vmd.host.process import Process
from vmd.host.transcript import follow

from .conftest import Spawn

BOOT_SECTOR = bytes.fromhex(
    "31c0 8ed0 bc007c"  #        xor ax,ax; mov ss,ax; mov sp,0x7c00
    "b075 e84100"  #             mov al,'u'; call putc
    "b070 e83c00"  #             mov al,'p'; call putc
    "b00a e83700"  #             mov al,10; call putc
    "bafd03"  #            main: mov dx,0x3fd            ; COM1, line status
    "ec a801 74fb"  #      idle: in al,dx; test al,1; jz idle
    "baf803 ec"  #               mov dx,0x3f8; in al,dx
    "3c66 7405"  #               cmp al,'f'; je flood
    "e82400 ebeb"  #             call putc; jmp main      ; an echo
    "31db"  #             flood: xor bx,bx
    "b10c"  #              line: mov cl,12
    "89d8 d3e8 240f 0461"  # hex: mov ax,bx; shr ax,cl; and al,15; add al,'a'
    "e81300"  #                  call putc
    "80e904 79f0"  #             sub cl,4; jns hex
    "b00a e80900"  #             mov al,10; call putc
    "43 81fb0020 75e2"  #        inc bx; cmp bx,8192; jne line
    "ebc9"  #                    jmp main
    "50 bafd03"  #         putc: push ax; mov dx,0x3fd
    "ec a820 74fb"  #      busy: in al,dx; test al,0x20; jz busy
    "58 baf803 ee c3"  #         pop ax; mov dx,0x3f8; out dx,al; ret
)
"""A guest that says "up", echoes what it hears, and at an "f" counts to 8192 in letters."""

FLOOD = b"".join(bytes(97 + (n >> s & 15) for s in (12, 8, 4, 0)) + b"\n" for n in range(8192))

Guest = Callable[..., Awaitable[tuple[Process, Console]]]


class Place:
    """Where the console and the transcript of the test's guest are."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "console"
        self.transcript = directory / "console, the log"

    async def connect(self, process: Process, **options: Any) -> Console:
        return await Console.connect(
            self.socket, self.transcript, process_exited=process.exited, timeout=60, **options
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
async def guest(start_qemu: Spawn, place: Place, tmp_path: Path) -> AsyncIterator[Guest]:
    consoles: list[Console] = []

    async def guest(**options: Any) -> tuple[Process, Console]:
        disk = tmp_path / "disk"
        disk.write_bytes(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes(2 << 20))  # SeaBIOS reads none smaller
        log = str(place.transcript).replace(",", ",,")
        process = await start_qemu(
            *("-chardev", f"socket,id=c,path={place.socket},server=on,wait=off,logfile={log},logappend=on"),
            *("-serial", "chardev:c"),
            *("-drive", f"file={disk},format=raw,if=none,id=d", "-device", "ide-hd,drive=d"),
        )
        consoles.append(await place.connect(process, **options))
        return process, consoles[-1]

    yield guest
    for console in consoles:
        await console.close()


async def until(attachment: Attachment, end: bytes) -> bytes:
    seen = bytearray()
    async for data in attachment:
        seen += data
        if seen.endswith(end):
            return bytes(seen)
    pytest.fail(f"it ended at {bytes(seen[-80:])!r}, without {end!r}")


async def logged(console: Console, place: Place, what: bytes) -> None:
    """Wait until the transcript has this: QEMU writes it there just after it has sent it."""
    seen = b""
    async for data in follow(place.transcript, changed=console.output):
        seen += data
        if seen.endswith(what):
            break


def once(data: bytes) -> bytes:
    """Each byte once: QEMU's log repeats one that had to wait for a full queue."""
    return re.sub(rb"(.)\1+", rb"\1", data, flags=re.DOTALL)


async def test_all_who_are_attached_see_the_same_and_the_transcript_has_it(guest: Guest, place: Place) -> None:
    heard: list[bytes] = []
    _, console = await guest(on_output=heard.append)
    first, second = console.attach(), console.attach()
    assert await until(first, b"up\n") == b"up\n"
    await console.write(b"hello\n")
    assert await until(first, b"hello\n") == b"hello\n"
    assert await until(second, b"hello\n") == b"up\nhello\n"
    assert b"".join(heard) == b"up\nhello\n"
    assert await until(console.attach(), b"hello\n") == b"up\nhello\n"
    assert await until(console.attach(tail=3), b"o\n") == b"lo\n"
    await logged(console, place, b"up\nhello\n")


async def test_who_never_reads_stalls_nobody_and_is_told_what_he_lost(guest: Guest, place: Place) -> None:
    _, console = await guest()
    reader, sleeper = console.attach(), console.attach(backlog=1000)
    await until(reader, b"up\n")
    await console.write(b"f")
    assert await until(reader, b"bppp\n") == FLOOD
    assert reader.skipped == 0
    assert await anext(sleeper) == FLOOD[-1000:]
    assert sleeper.skipped == len(b"up\n" + FLOOD) - 1000
    await console.write(b"!")
    assert await anext(sleeper) == b"!"
    assert await until(reader, b"!") == b"!"
    await logged(console, place, b"!")
    assert once(place.transcript.read_bytes()) == once(b"up\n" + FLOOD + b"!")


async def test_with_nobody_attached_the_guest_runs_on(guest: Guest) -> None:
    _, console = await guest()
    with console.attach() as attachment:
        await until(attachment, b"up\n")
    assert [data async for data in attachment] == []
    await console.write(b"f")
    while True:
        await console.output()
        if (await anext(console.attach())).endswith(FLOOD[-50:]):
            break
    assert await anext(console.attach()) == FLOOD[-TAIL:]


async def test_a_daemon_that_comes_back_in_mid_sentence_misses_nothing(guest: Guest, place: Place) -> None:
    process, console = await guest()
    with console.attach() as attachment:
        await until(attachment, b"up\n")
        await console.write(b"f")
        await anext(attachment)
    await console.close()
    again = await place.connect(process)
    while len(await anext(again.attach())) < 1000:
        await again.output()
    seen = await until(again.attach(), b"bppp\n")
    assert once(b"up\n" + FLOOD).endswith(once(seen)[1:])
    assert len(seen) > 1000
    await again.write(b"?")
    assert (await until(again.attach(), b"?")).endswith(FLOOD[-100:] + b"?")
    await again.close()


async def test_one_that_comes_late_replays_the_transcript(guest: Guest, place: Place) -> None:
    process, console = await guest()
    attachment = console.attach()
    await until(attachment, b"up\n")
    await console.write(b"a")
    await until(attachment, b"a")
    await logged(console, place, b"up\na")
    await console.close()
    assert [data async for data in attachment] == []
    late = await place.connect(process)
    assert await anext(late.attach()) == b"up\na"
    await late.close()


async def test_when_qemu_goes_all_are_told(guest: Guest) -> None:
    process, console = await guest()
    attachment = console.attach()
    await until(attachment, b"up\n")
    process.signal(signal.SIGKILL)
    assert [data async for data in attachment] == []
    await console.disconnected
    assert not console.connected
    with pytest.raises(QemuFailed, match="hung up its console"):
        await console.write(b"x")
    assert [data async for data in console.attach()] == [b"up\n"]
    await console.close()


async def test_typing_waits_while_the_guest_takes_nothing(guest: Guest) -> None:
    process, console = await guest()
    await until(console.attach(), b"up\n")
    process.signal(signal.SIGSTOP)
    typing = asyncio.create_task(console.write(b"x" * (8 << 20)))
    done, _ = await asyncio.wait({typing}, timeout=0.2)
    assert not done
    process.signal(signal.SIGKILL)
    with pytest.raises(QemuFailed, match="hung up its console"):
        await typing


async def test_a_fault_of_ours_does_not_hang_up_on_the_guest(guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    _, console = await guest(on_output=lambda data: [][len(data)])
    attachment = console.attach()
    await until(attachment, b"up\n")
    await console.write(b"a")
    await until(attachment, b"a")
    assert console.connected
    assert "at output of" in caplog.text


async def test_no_console_is_said(place: Place, start_qemu: Spawn) -> None:
    with pytest.raises(TimedOut, match="there is no console at"):
        await Console.connect(place.socket, place.transcript, timeout=0.01)
    process = await start_qemu("-no-such-option")
    with pytest.raises(QemuFailed, match="ended with exit status 1"):
        await place.connect(process)


async def test_a_flood_does_not_fill_the_disk(guest: Guest, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmd.host.console.BOUND", 8 << 10)
    monkeypatch.setattr("vmd.host.console.LOOK_AFTER", 1 << 10)
    _, console = await guest()
    followed = bytearray()

    async def watch() -> None:
        async for data in follow(place.transcript, changed=console.output):
            followed.extend(data)
            if followed.endswith(b"!"):
                return

    following = asyncio.create_task(watch())
    with console.attach() as attachment:
        await console.write(b"f")
        await until(attachment, FLOOD[-40:])
        await console.write(b"!")
        await until(attachment, b"!")
    async with asyncio.timeout(60):
        await following
    previous = place.transcript.with_name(f"{place.transcript.name}.1")
    assert 8 << 10 <= previous.stat().st_size <= 16 << 10
    assert place.transcript.stat().st_size <= 10 << 10
