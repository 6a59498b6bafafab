import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vmd.errors import VmdError
from vmd.host.monitor import Monitor
from vmd.host.port import FORWARDED, free_port, holder, is_free

from .conftest import Spawn


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def test_a_port_someone_listens_on_is_not_free(server: socket.socket) -> None:
    port = port_of(server)
    assert not is_free(port)
    assert not is_free(port, "0.0.0.0")  # noqa: S104 - asked about, never listened on for long
    server.close()
    assert is_free(port)


def test_a_port_taken_on_every_address_is_not_free() -> None:
    with socket.create_server(("", 0)) as server:
        assert not is_free(port_of(server))


def test_a_port_of_a_closed_connection_is_free(server: socket.socket) -> None:
    port = port_of(server)
    with socket.create_connection(("127.0.0.1", port)):
        answering, _ = server.accept()
        answering.close()  # the first to close is left in TIME_WAIT
    server.close()
    assert is_free(port)


def test_an_address_of_another_host_is_said() -> None:
    with pytest.raises(VmdError, match=r"can't listen on 192\.0\.2\.1 port 20000: Cannot assign"):
        is_free(20000, "192.0.2.1")


def test_the_preferred_one_is_given_if_it_is_free(server: socket.socket) -> None:
    port = port_of(server)
    assert free_port(port) in FORWARDED
    server.close()
    assert free_port(port) == port
    assert free_port(port, taken={port}) in FORWARDED


def test_the_first_free_one_is_given(server: socket.socket) -> None:
    port = port_of(server)
    after = free_port(ports=range(port, port + 50))
    assert after > port
    assert after == free_port(ports=range(port, port + 50))
    assert free_port(taken={after}, ports=range(port, port + 50)) > after


def test_none_free_is_said(server: socket.socket) -> None:
    port = port_of(server)
    with pytest.raises(VmdError, match=f"no port from {port} to {port} is free"):
        free_port(ports=range(port, port + 1))


def test_who_holds_a_port_is_named(server: socket.socket) -> None:
    found = holder(port_of(server))
    assert found is not None
    assert found.endswith(f"(pid {os.getpid()})")
    assert "python" in found or "pytest" in found
    port = port_of(server)
    server.close()
    assert holder(port) is None


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_who_holds_a_port_over_ipv6_is_named() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with closing(server):
        assert not is_free(port_of(server), "::1")
        assert str(os.getpid()) in str(holder(port_of(server)))


async def test_a_qemu_that_holds_a_port_is_named(start_qemu: Spawn, tmp_path: Path) -> None:
    port = free_port()
    process = await start_qemu(
        *("-S", "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-chardev", f"socket,id=q,path={tmp_path}/qmp,server=on,wait=off", "-mon", "chardev=q,mode=control"),
    )
    monitor = await Monitor.connect(tmp_path / "qmp", process_exited=process.exited, timeout=60)
    assert holder(port) == f"qemu-system-x86_64 (pid {process.pid})"
    assert not is_free(port)
    await monitor.quit()
    await process.exited
    assert is_free(port)
    await monitor.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_one_that_may_not_look_is_told_the_user(server: socket.socket) -> None:
    program = (
        "import os, sys; os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "from vmd.host.port import holder; print(holder(int(sys.argv[1])))"
    )
    argv = (sys.executable, "-c", program, str(port_of(server)))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "PermissionError" in done.stderr or "ModuleNotFound" in done.stderr:
        pytest.skip("nobody may not read this source tree")
    assert done.stdout == "a process of user 0\n", done.stderr
