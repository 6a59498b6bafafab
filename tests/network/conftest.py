"""Network namespaces: a host and its LAN, joined by a cable, and gone after the test."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from vmd.host.link.move import answering

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()


def _setns(fd: int) -> None:
    if _LIBC.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """One network namespace; what is run through it runs in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._started = ExitStack()

    def run(self, *argv: str) -> str:
        done = subprocess.run((IP, "netns", "exec", self.name, *argv), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr or done.stdout}"
        return done.stdout

    def ip(self, words: str) -> str:
        return self.run("ip", *words.split())

    def links(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self.run("ip", "-j", "link"))}

    def start(self, *argv: str, **options: Any) -> subprocess.Popen[str]:
        """Start a program that is killed, and waited for, when the test is over."""
        process = subprocess.Popen((IP, "netns", "exec", self.name, *argv), text=True, **options)
        self._started.callback(_end, process)
        return process

    def python(self, *argv: str, **options: Any) -> subprocess.Popen[str]:
        return self.start(sys.executable, *argv, **options)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it, this thread and what it starts."""
        with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{self.name}").open() as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def pids(self) -> list[int]:
        """The processes in it but for this one."""
        done = subprocess.run((IP, "netns", "pids", self.name), capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split() if int(pid) != os.getpid()]

    def kill_all(self) -> None:
        """Kill what is in it, a program that made itself nobody's child too, and wait for the end."""
        while pids := [pid for pid in self.pids() if _alive(pid)]:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self._started.close()
        self.kill_all()
        subprocess.run((IP, "netns", "del", self.name), check=True)


def _alive(pid: int) -> bool:
    """Not gone, and no ``ip`` that was started to look."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def namespaces() -> Iterator[Any]:
    """Make network namespaces; skips where this can't be done."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    if not Path(IP).exists():
        pytest.skip("iproute2 is not installed")
    made: list[Namespace] = []

    def make(what: str) -> Namespace:
        name = f"vmdt{os.getpid()}-{next(_numbers)}-{what}"
        done = subprocess.run((IP, "netns", "add", name), capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"network namespaces can't be made here: {done.stderr.strip()}")
        made.append(Namespace(name))
        made[-1].run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
        made[-1].ip("link set lo up")
        return made[-1]

    yield make
    for namespace in reversed(made):
        namespace.close()


@pytest.fixture
def netns(namespaces: Any) -> Iterator[Namespace]:
    """One empty namespace that the test itself is in."""
    namespace: Namespace = namespaces("alone")
    with namespace.entered():
        yield namespace


class Lan:
    """A host with the NIC nic0, and a router lan0 on the other end of its cable."""

    def __init__(self, host: Namespace, router: Namespace) -> None:
        self.host = host
        self.router = router


NIC_MAC = "52:54:00:99:00:02"

IP = shutil.which("ip") or "/sbin/ip"
GATEWAYS = ((2, "10.99.0.1"), (10, "2001:db8:99::1"), (10, "fe80::1"))

_HOST = """\
addr add 10.99.0.2/24 brd + dev nic0 valid_lft 3600 preferred_lft 3000
addr add 10.99.0.22/24 dev nic0 label nic0:two
addr add 10.98.0.2 peer 10.98.0.1/32 dev nic0
addr add 2001:db8:99::2/64 dev nic0
addr add 2001:db8:99::77/64 dev nic0 valid_lft 7200 preferred_lft 3600 noprefixroute
route add default via 10.99.0.1 dev nic0 proto dhcp src 10.99.0.2 metric 100
route add 10.97.0.0/24 dev nic0 proto kernel scope link src 10.99.0.2 metric 50
route add 10.55.0.0/16 via 10.99.0.1 mtu 1400
route add default via 10.99.0.1 table 1234
route add 10.56.0.0/16 via 10.99.0.1 table 77
rule add from 10.99.0.22 table 1234
-6 route add 2001:db8:55::/48 via 2001:db8:99::1 metric 700
-6 route add default via fe80::1 dev nic0 proto ra metric 1024 expires 1800 pref high hoplimit 64
neigh add 10.99.0.9 lladdr 52:54:00:99:00:09 dev nic0
"""


@pytest.fixture
def lan(namespaces: Any) -> Lan:
    """A host on a LAN with IPv4 and IPv6, a policy-routing table, lifetimes, secondaries and a static neighbour."""
    host, router = namespaces("host"), namespaces("lan")
    host.ip(f"link add nic0 address {NIC_MAC} type veth peer name lan0 netns {router.name}")
    host.ip("link set nic0 up")
    router.run("sysctl", "-qw", "net.ipv6.conf.lan0.addr_gen_mode=1")  # fe80::1 is its one link-local address
    router.ip("link set lan0 up")
    for words in ("10.99.0.1/24", "2001:db8:99::1/64 nodad", "fe80::1/64 nodad"):
        router.ip(f"addr add {words} dev lan0")
    router.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1")
    for line in _HOST.splitlines():
        host.ip(line)
    with host.entered():
        assert answering("nic0", GATEWAYS, 10) == set(GATEWAYS)
    return Lan(host, router)
