import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from vmd.errors import QemuFailed, TimedOut
from vmd.host.monitor import Monitor, MonitorEvent
from vmd.host.process import Exit, Process

from .conftest import Spawn

Pair = tuple[Process, Monitor]


def monitor_options(path: Path) -> tuple[str, ...]:
    return "-chardev", f"socket,id=qmp,path={path},server=on,wait=off", "-mon", "chardev=qmp,mode=control"


@pytest.fixture
async def guest(start_qemu: Spawn, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Pair]]]:
    monitors: list[Monitor] = []

    async def guest(*options: str, name: str = "a", on_event: Callable[[MonitorEvent], None] | None = None) -> Pair:
        path = tmp_path / name
        process = await start_qemu("-S", *monitor_options(path), *options)
        monitors.append(await Monitor.connect(path, process_exited=process.exited, timeout=60, on_event=on_event))
        return process, monitors[-1]

    yield guest
    for monitor in monitors:
        await monitor.close()


Guest = Callable[..., Awaitable[Pair]]


async def test_a_starting_qemu_is_met_and_asked(guest: Guest) -> None:
    _, monitor = await guest()
    assert monitor.connected
    assert await monitor.status() == "prelaunch"
    await monitor.cont()
    assert await monitor.status() == "running"
    assert "machine" in {word for found in await monitor.execute("qom-list", path="/") for word in found.values()}
    assert "QEMU" not in await monitor.hmp("info version")


async def test_a_refusal_has_qemus_words_and_the_command(guest: Guest) -> None:
    _, monitor = await guest()
    with pytest.raises(QemuFailed, match=r"refused device_del: Device 'ghost' not found"):
        await monitor.execute("device_del", id="ghost")
    with pytest.raises(QemuFailed, match=r"refused make-coffee: .*make-coffee"):
        await monitor.execute("make-coffee")
    assert await monitor.status() == "prelaunch"


async def test_quit_ends_it_and_all_who_listen_are_told(guest: Guest) -> None:
    process, monitor = await guest()
    told: list[str] = []
    monitor.on_disconnect(lambda: told.append("over"))
    events = monitor.events()
    await monitor.quit()
    assert await process.exited == Exit(status=0)
    await monitor.disconnected
    assert [event.name async for event in events] == ["SHUTDOWN"]
    assert not monitor.connected
    assert told == ["over"]
    with pytest.raises(QemuFailed, match="hung up on"):
        await monitor.status()
    assert [event async for event in monitor.events()] == []


async def test_events_reach_each_listener_in_order(guest: Guest) -> None:
    heard: list[MonitorEvent] = []
    _, monitor = await guest(on_event=heard.append)
    first, second = monitor.events(), monitor.events()
    await monitor.cont()
    await monitor.execute("stop")
    for events in (first, second):
        assert [(await anext(events)).name for _ in range(2)] == ["RESUME", "STOP"]
    assert [event.name for event in heard] == ["RESUME", "STOP"]
    assert heard[0].data == {}
    assert heard[0].seconds > 1_600_000_000


async def test_a_listener_that_fails_harms_neither_the_others_nor_the_connection(
    guest: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    _, monitor = await guest(on_event=lambda event: [][len(event.name)])
    events = monitor.events()
    await monitor.cont()
    assert (await anext(events)).name == "RESUME"
    assert await monitor.status() == "running"
    assert "at event RESUME" in caplog.text


async def test_one_that_hangs_holds_up_nobody_else_and_is_heard_again(guest: Guest) -> None:
    process, stuck = await guest(name="stuck")
    _, well = await guest(name="well")
    process.signal(signal.SIGSTOP)
    asked = asyncio.create_task(stuck.execute("query-version", timeout=60))
    with pytest.raises(TimedOut, match=r"did not answer query-status on .*stuck within 0.01 s"):
        await stuck.execute("query-status", timeout=0.01)
    assert await well.status() == "prelaunch"
    process.signal(signal.SIGCONT)
    assert "qemu" in await asked
    assert await stuck.status() == "prelaunch"


async def test_one_that_hangs_can_be_let_go(guest: Guest) -> None:
    process, stuck = await guest()
    process.signal(signal.SIGSTOP)
    asked = asyncio.create_task(stuck.status())
    await asyncio.sleep(0)
    await stuck.close()
    with pytest.raises(QemuFailed, match="hung up"):
        await asked
    assert process.alive
    await stuck.close()


async def test_a_cancelled_question_is_cancelled_and_no_more(guest: Guest) -> None:
    process, monitor = await guest()
    process.signal(signal.SIGSTOP)
    asked = asyncio.create_task(monitor.status())
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    process.signal(signal.SIGCONT)
    assert await monitor.status() == "prelaunch"


async def test_who_waits_for_an_answer_of_a_killed_qemu_is_told(guest: Guest) -> None:
    process, monitor = await guest()
    process.signal(signal.SIGSTOP)
    asked = asyncio.create_task(monitor.execute("query-status", timeout=60))
    await asyncio.sleep(0)
    process.signal(signal.SIGKILL)
    with pytest.raises(QemuFailed, match=r"hung up .* at query-status"):
        await asked
    await monitor.disconnected


async def test_a_qemu_that_refuses_an_option_is_not_waited_for(start_qemu: Spawn, tmp_path: Path) -> None:
    process = await start_qemu("-device", "flux-capacitor")
    with pytest.raises(QemuFailed, match="QEMU ended with exit status 1 before it answered"):
        await Monitor.connect(tmp_path / "qmp", process_exited=process.exited, timeout=60)


async def test_a_socket_left_behind_is_waited_past(guest: Guest, tmp_path: Path) -> None:
    process, _ = await guest()
    await process.terminate(0)
    assert (tmp_path / "a").is_socket()
    _, monitor = await guest()
    assert await monitor.status() == "prelaunch"


async def test_a_second_client_is_told_that_there_is_a_first(guest: Guest) -> None:
    _, monitor = await guest()
    with pytest.raises(TimedOut, match=r"did not answer within 0.05 s; is something else connected"):
        await Monitor.connect(monitor.path, timeout=0.05)
    assert await monitor.status() == "prelaunch"


async def test_a_socket_that_never_comes_times_out(tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match="never did not answer"):
        await Monitor.connect(tmp_path / "never", timeout=0.01)


async def test_a_socket_of_another_kind_is_told_apart(start_qemu: Spawn, tmp_path: Path) -> None:
    path = tmp_path / "hmp"
    process = await start_qemu("-S", "-monitor", f"unix:{path},server=on,wait=off")
    with pytest.raises(QemuFailed, match="speaks no QMP"):
        await Monitor.connect(path, process_exited=process.exited, timeout=60)


async def test_a_path_too_long_is_said(tmp_path: Path) -> None:
    with pytest.raises(QemuFailed, match="AF_UNIX path too long"):
        await Monitor.connect(tmp_path / ("n" * 108), timeout=60)


async def test_the_screen_is_pictured(guest: Guest, tmp_path: Path) -> None:
    _, monitor = await guest("-device", "VGA")
    picture = tmp_path / "a, picture"
    magic = {"png": b"\x89PNG", "ppm": b"P6"}[await monitor.screendump(picture)]
    assert picture.read_bytes().startswith(magic)


async def test_no_screen_no_picture(guest: Guest, tmp_path: Path) -> None:
    _, monitor = await guest()
    with pytest.raises(QemuFailed, match="refused screendump"):
        await monitor.screendump(tmp_path / "picture")


async def test_the_power_button_is_pressed(guest: Guest) -> None:
    _, monitor = await guest()
    events = monitor.events()
    await monitor.cont()
    await monitor.power_button()
    assert [(await anext(events)).name for _ in range(2)] == ["RESUME", "POWERDOWN"]
