"""vmd under a service manager: what it is told, the socket it hands over, and metrics for who asks."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGTERM

import pytest

from vmd.daemon.exposition import Family, Sample, exposition, histogram
from vmd.daemon.heartbeat import words
from vmd.daemon.metrics import Tally
from vmd.daemon.scrape import parse_address, read_token
from vmd.daemon.usage import Traffic, total
from vmd.errors import UsageError

from .house import PATIENCE, Vmd

HANDS = """
import os, sys
path, listener, *argv = sys.argv[1:]
os.dup2(int(listener), 3)
os.environ |= {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000", "WATCHDOG_PID": str(os.getpid())}
os.environ |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "control", "LISTEN_PID": str(os.getpid())}
os.execv(argv[0], argv)
"""
"""Becomes vmd, with all that a service manager gives it."""


class Manager:
    """A service manager: it hears what vmd tells it, and holds its control socket."""

    def __init__(self, vmd: Vmd) -> None:
        self.vmd = vmd
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(str(vmd.root / "notify"))
        self.ear.settimeout(PATIENCE)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(str(vmd.socket))
        self.control.listen()
        vmd.pass_fds = (self.control.fileno(),)
        vmd.prefix = (sys.executable, "-c", HANDS, str(vmd.root / "notify"), str(self.control.fileno()))

    def expect(self, *lines: str) -> None:
        """Wait until vmd says all of these at once."""
        while not set(lines) <= set(self.ear.recv(65536).decode().splitlines()):
            pass

    def close(self) -> None:
        self.ear.close()
        self.control.close()


@pytest.fixture
def manager(home: Vmd) -> Iterator[Manager]:
    made = Manager(home)
    yield made
    made.close()


def test_a_service_manager_is_told_how_vmd_stands(manager: Manager) -> None:
    vmd = manager.vmd
    vmd.start()
    manager.expect("READY=1")
    manager.expect("WATCHDOG=1", "STATUS=no guest is defined")
    vmd.define_tiny("alice")
    manager.expect("STATUS=1 guest: 1 absent")
    assert vmd.ctl("up", "alice").code == 0
    manager.expect("STATUS=1 guest: 1 running")
    os.kill(vmd.pid, SIGHUP)
    manager.expect("RELOADING=1")
    manager.expect("READY=1")
    vmd.kill(SIGTERM)
    manager.expect("STOPPING=1", "STATUS=stopped; the guests go on")


def test_the_heart_beats_while_nothing_happens_and_stops_with_the_loop(manager: Manager) -> None:
    manager.vmd.start()
    for _ in range(3):
        manager.expect("WATCHDOG=1")


def test_the_socket_that_was_handed_over_stays(manager: Manager) -> None:
    vmd = manager.vmd
    vmd.start()
    assert vmd.ctl("list").code == 0
    before = vmd.socket.stat().st_ino
    vmd.kill(SIGTERM)
    assert vmd.socket.stat().st_ino == before
    waiting = vmd.begin("list")  # it is heard by the next vmd
    vmd.start()
    assert waiting.wait(PATIENCE) == 0
    waiting.communicate()


def test_no_program_of_vmd_s_takes_its_words_for_its_own(manager: Manager) -> None:
    vmd = manager.vmd
    vmd.start()
    vmd.define_tiny("alice")
    assert vmd.ctl("up", "alice").code == 0
    (qemu,) = vmd.qemus()
    assert b"NOTIFY_SOCKET" not in Path(f"/proc/{qemu}/environ").read_bytes()


def test_limits_are_refused_where_nobody_holds_a_guest_to_them(vmd: Vmd) -> None:
    vmd.define_tiny("alice", more=", limits: {cpu: 50%}")
    done = vmd.ctl("up", "alice")
    assert done.code == 1
    assert "limits are held by systemd" in done.err
    assert "fleet.yaml:2:" in done.err
    assert vmd.qemus() == []


def test_a_guest_that_is_powered_down_with_its_host_is_still_wanted(alice: Vmd) -> None:
    assert alice.ctl("down", "alice", "--for-now").code == 0
    assert (alice.guest() / "want").read_text() == "up\n"
    assert alice.ctl("down", "alice").code == 0
    assert (alice.guest() / "want").read_text() == "down\n"


# -- metrics


def get(port: int, path: str = "/metrics", word: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", path, headers={"Authorization": f"Bearer {word}"} if word else {})
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_metrics_are_what_prometheus_reads(alice: Vmd) -> None:
    with alice.request("GET /metrics HTTP/1.0\r\n\r\n") as connection, connection.makefile("rb") as answer:
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert b"content-type: text/plain; version=0.0.4" in head.lower()
    lines = body.decode().splitlines()
    assert 'vmd_guests{state="running"} 1' in lines
    assert 'vmd_guest_up{guest="alice"} 1' in lines
    assert any(line.startswith('vmd_guest_cpu_seconds_total{guest="alice"} ') for line in lines)
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (package prometheus) is not installed")
    done = subprocess.run((promtool, "check", "metrics"), input=body, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_over_the_network_they_take_a_token(home: Vmd) -> None:
    port, token = free_port(), home.root / "token"
    token.write_text("a-token-of-the-test\n")
    token.chmod(0o640)
    home.words = ("--metrics", f"127.0.0.1:{port}", "--metrics-token", str(token))
    home.start()
    assert get(port)[0] == 403
    assert get(port, word="another-token-altogether")[0] == 403
    assert get(port, "/v1/guests", word="a-token-of-the-test")[0] == 404
    status, said = get(port, word="a-token-of-the-test")
    assert status == 200
    assert "vmd_build_info" in said


def test_usage_is_known_of_what_runs(alice: Vmd) -> None:
    (used,) = alice.ctl("top", "--json").json["guests"]
    assert used["state"] == "running"
    assert used["memory"] > 16 << 20
    assert used["disk_read"] >= 512
    assert (used["received"], used["sent"]) == (None, None)
    assert "alice" in alice.ctl("top", "--every", "0.01").out


@pytest.mark.parametrize("text", ["", "9478", "localhost:9478", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("127.0.0.1:9478") == ("127.0.0.1", 9478)
    assert parse_address("[::1]:80") == ("::1", 80)


@pytest.mark.parametrize(
    ("token", "mode", "why"), [("short", 0o600, "no token"), ("long enough for me", 0o644, "everybody")]
)
def test_a_token_that_is_none_is_refused(tmp_path: Path, token: str, mode: int, why: str) -> None:
    path = tmp_path / "token"
    path.write_text(token)
    path.chmod(mode)
    with pytest.raises(UsageError, match=why):
        read_token(path)
    with pytest.raises(UsageError, match="can't be read"):
        read_token(tmp_path / "nothing")


def test_text_that_means_something_is_escaped() -> None:
    family = Family("x", "gauge", "a\\b\nc", [Sample(1.5, {"guest": 'q"\\\n'})])
    assert exposition([family, Family("empty", "gauge", "", [])]) == (
        '# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{guest="q\\"\\\\\\n"} 1.5\n'
    )


def test_a_histogram_counts_what_is_at_most_each_bound() -> None:
    made = histogram("x", "", (10, 1), [0.5, 5, 50])
    assert [(sample.suffix, dict(sample.labels), sample.value) for sample in made.samples] == [
        ("_bucket", {"le": "1"}, 1),
        ("_bucket", {"le": "10"}, 2),
        ("_bucket", {"le": "+Inf"}, 3),
        ("_sum", {}, 55.5),
        ("_count", {}, 3),
    ]


def test_a_tally_counts_what_happens() -> None:
    tally = Tally()
    for event in (
        {"event": "restart", "guest": "alice"},
        {"event": "exit", "guest": "alice", "cause": "killed"},
        {"event": "exit", "guest": "alice", "cause": "stopped"},
        {"event": "step.done", "guest": "alice", "step": "run-installer", "seconds": 12.5},
        {"event": "step.failed", "guest": "bob", "step": "run-installer", "seconds": 1},
        {"event": "step.done", "guest": "bob", "step": "start", "seconds": 1},
    ):
        tally.count(event)
    assert (tally.restarts["alice"], tally.crashes["alice"], tally.installs, tally.failed_installs) == (
        1,
        1,
        [12.5],
        1,
    )
    assert tally.events == {"restart": 1, "exit": 2, "step.done": 2, "step.failed": 1}


def test_disks_are_summed_up() -> None:
    one = {"rd_bytes": 1, "wr_bytes": 2, "rd_operations": 3, "wr_operations": 4}
    assert total([one, one]) == Traffic(2, 4, 6, 8)
    assert total([]) == Traffic(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("states", "faults", "said"),
    [
        ({}, 0, "no guest is defined"),
        ({}, 1, "no guest is defined; 1 fault in the definitions"),
        ({"a": "running"}, 0, "1 guest: 1 running"),
        (
            {"a": "running", "b": "failed", "c": "running"},
            2,
            "3 guests: 1 failed (b), 2 running; 2 faults in the definitions",
        ),
        ({f"g{n}": "failed" for n in range(7)}, 0, "7 guests: 7 failed (g0, g1, g2, g3, g4, …)"),
    ],
)
def test_how_it_stands_in_words(states: dict[str, str], faults: int, said: str) -> None:
    assert words(states, faults) == said


def test_the_dashboard_asks_for_metrics_that_there_are(alice: Vmd) -> None:
    dashboard = json.loads((Path(__file__).parents[2] / "config/grafana-dashboard.json").read_text())
    asked = {
        name.removesuffix("_bucket")
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:vmd|process)_\w+", target["expr"])
    }
    with alice.request("GET /metrics HTTP/1.0\r\n\r\n") as connection, connection.makefile("r") as answer:
        there = set(re.findall(r"^# TYPE (\w+)", answer.read(), re.MULTILINE))
    only_on_taps = {"vmd_guest_network_receive_bytes_total", "vmd_guest_network_transmit_bytes_total"}
    assert asked - there == only_on_taps
