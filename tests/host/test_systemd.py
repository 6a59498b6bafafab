"""The journal's own protocol, heard on a socket where the journal's would be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vmd.host.systemd import in_journal, journal

ROOT = Path(__file__).parents[2]

LISTENER = """
import json, os, socket, subprocess, sys
subprocess.run(("mount", "-t", "tmpfs", "none", "/run/systemd"), check=True)
os.makedirs("/run/systemd/journal", exist_ok=True)
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("/run/systemd/journal/socket")
stream = os.fstat(2)
environ = {**os.environ, "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"}
subprocess.run([sys.executable, "-c", sys.argv[1]], env=environ, check=True)
listener.setblocking(False)
heard = []
while True:
    try:
        heard.append(listener.recv(65536).decode("latin-1"))
    except BlockingIOError:
        break
print(json.dumps(heard))
"""
"""Runs in a mount namespace of its own, with an empty /run/systemd."""

SPEAKER = """
import logging, os
from vmd.host.systemd import journal
handler = journal(os.environ, "vmd")
log = logging.getLogger("vmd.events")
log.addHandler(handler)
log.warning("alice: QEMU was killed", extra={"journal": {"VMD_GUEST": "alice", "VMD_EVENT": "exit"}})
log.error("two\\nlines")
"""


def parsed(datagram: str) -> dict[str, str]:
    """A message of the native protocol: NAME=value lines; or NAME, the value's length in 8 bytes, and the value."""
    found, rest = {}, datagram.encode("latin-1")
    while rest:
        line, _, rest = rest.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[9 + length :]
        found[name.decode()] = value.decode()
    return found


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace of one's own takes root")
def test_what_the_journal_hears() -> None:
    pytest.importorskip("systemd.journal", reason="systemd's library for Python is not installed")
    if not Path("/run/systemd").is_dir():
        pytest.skip("there is no /run/systemd to mount over")
    argv = ("unshare", "--mount", "--propagation", "private", sys.executable)
    done = subprocess.run((*argv, "-c", LISTENER, SPEAKER), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = map(parsed, json.loads(done.stdout))
    own = {
        name: first[name] for name in ("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "VMD_GUEST", "VMD_EVENT", "LOGGER")
    }
    assert own == {
        "MESSAGE": "alice: QEMU was killed",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "vmd",
        "VMD_GUEST": "alice",
        "VMD_EVENT": "exit",
        "LOGGER": "vmd.events",
    }
    assert (second["MESSAGE"], second["PRIORITY"]) == ("two\nlines", "3")
    assert done.stderr == ""


def test_the_journal_is_meant_only_where_stderr_leads_there(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as file:
        found = os.fstat(file.fileno())
        assert in_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, file.fileno())
        assert not in_journal({"JOURNAL_STREAM": f"{found.st_dev}:1"}, file.fileno())
        assert not in_journal({"JOURNAL_STREAM": "nonsense"}, file.fileno())
        assert not in_journal({}, file.fileno())
    assert journal({}, "vmd") is None
