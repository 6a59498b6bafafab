"""The process that undoes a move of a NIC unless it is confirmed: ``python -m vmd.host.link.rollback RECORD``.

It is started, and says so, before anything is changed, so that whatever happens to vmd, to the operator's ssh session
or to the network, it is there with all it needs in its memory. The record says the same to a vmd that finds it later.
After the host booted anew nothing is left of a move, for no change outlives the kernel.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from vmd.errors import TimedOut, VmdError
from vmd.host.files import append_line, boot_id, open_regular, read_record, write_record
from vmd.host.link.facts import set_sysctls
from vmd.host.link.move import shift
from vmd.host.link.wire import in_words, send

ARMED, CONFIRMED, UNDONE, FAILED = "armed", "confirmed", "undone", "failed"
"""What a record says: a process waits, the move stays, it was undone, it could not be wholly undone."""
ARMING_PATIENCE = 30.0
"""Seconds the process may take to be ready; it needs half of one on a quiet machine."""
_FOREVER = 0xFFFFFFFF
_WORDS = {b"confirm": CONFIRMED, b"undo": UNDONE}


class Undone(NamedTuple):
    """How undoing went: what the kernel refused, and how many milliseconds it took until the NIC had all again."""

    refused: tuple[str, ...]
    milliseconds: float


def new_record(move: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What is written before the first change: the move, in which boot, when, and for how long it waits."""
    return {"state": ARMED, "boot": boot_id(), "taken": _now(), "seconds": seconds, "move": dict(move)}


def arm(record: Path, move: Mapping[str, Any], seconds: float, launcher: Sequence[str] = ()) -> None:
    """Write the record and start the process that undoes the move after ``seconds``; return when it is ready.

    ``launcher`` are the first words of its command line, where something else must start it to keep it apart from
    us (systemd-run(1) with --scope, so that the end of our unit isn't its end). Raises VmdError when it can't be made
    ready: then nothing may be changed.
    """
    write_record(record, new_record(move, seconds))
    argv = (*launcher, sys.executable, "-m", "vmd.host.link.rollback", str(record))
    log = open_regular(_log(record), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        ) as process:
            _await_ready(process, record)
    except OSError as error:
        raise VmdError(f"the process that would undo the move can't be started: {error}") from error
    finally:
        os.close(log)


def _await_ready(process: subprocess.Popen[bytes], record: Path) -> None:
    output = process.stdout
    ready = output and select.select([output], [], [], ARMING_PATIENCE)[0]
    if not (output and ready and output.readline() == b"armed\n"):
        process.kill()
        raise VmdError("the process that would undo the move is not ready", f"see {_log(record)}")


def answer(record: Path, word: bytes, patience: float = 30.0) -> str:
    """Tell the waiting process ``confirm`` or ``undo``; return the record's state after it.

    Raises VmdError when no process waits any more, TimedOut when it doesn't answer.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(patience)
        try:
            sock.connect(str(_socket(record)))
            sock.sendall(word)
            said = sock.recv(100)
        except TimeoutError:
            raise TimedOut(f"the process that keeps {record} does not answer") from None
        except OSError as error:
            raise VmdError(f"nobody waits to be told {word.decode()}: {state(record)}") from error
    return said.decode()


def waits(record: Path) -> bool:
    """Tell whether a process keeps this record."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(_socket(record))) == 0


def state(record: Path) -> str:
    """What the record says; ``absent`` where there is none, ``past`` where the host booted anew since."""
    found = read_record(record)
    if found is None:
        return "absent"
    return str(found["state"]) if found["boot"] == boot_id() else "past"


def mend(record: Path) -> Undone | None:
    """Undo a move that was left half-made with nobody to undo it: what vmd calls first when it starts."""
    if state(record) != ARMED or waits(record):
        return None
    found = read_record(record)
    return undo(record, found) if found else None


def undo(record: Path, found: dict[str, Any]) -> Undone:
    """Put back all that the record says was there, from whatever point the move had come to; twice is as good."""
    begun = time.monotonic()
    move = found["move"]
    ready, go, settle = (aged(move[key], _now() - found["taken"]) for key in ("undo_ready", "undo", "undo_settle"))
    results = shift(move["nic"], ready, go).results
    taken = (time.monotonic() - begun) * 1000
    results += send(settle).results
    with suppress(VmdError):  # the move sets none of the NIC's; whoever did meanwhile may have meant it
        set_sysctls(move["own_sysctls"])
    refused = [
        f"{in_words(message)}: {os.strerror(result)}"
        for message, result in zip(ready + go + settle, results, strict=True)
        if result
    ]
    write_record(record, {**found, "state": FAILED if refused else UNDONE, "refused": refused})
    return Undone(tuple(refused), taken)


def aged(messages: Sequence[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """The same messages when ``seconds`` have passed: lifetimes run on."""
    return [
        {**message, "attrs": [[name, _aged(name, value, int(seconds))] for name, value in message["attrs"]]}
        for message in messages
    ]


def _aged(name: str, value: Any, seconds: int) -> Any:
    if name == "RTA_EXPIRES":
        return max(1, value - seconds)
    if name != "IFA_CACHEINFO":
        return value
    left = {key: _left(value[key], seconds) for key in ("ifa_preferred", "ifa_valid")}
    return {**value, **left, "ifa_valid": max(1, left["ifa_valid"])}


def _left(lifetime: int, seconds: int) -> int:
    return lifetime if lifetime == _FOREVER else max(0, lifetime - seconds)


def _now() -> float:
    """Seconds since the host booted, sleep included: lifetimes run on in sleep as well."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _socket(record: Path) -> Path:
    return record.with_suffix(".sock")


def _log(record: Path) -> Path:
    return record.with_suffix(".log")


def main(record: Path) -> None:
    """Say that we are ready, wait, and undo unless told to let it be."""
    if os.fork():
        os._exit(0)  # nobody's child: whoever started us needn't wait for our end
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000")  # the last one the kernel may take
    found = read_record(record)
    if not found:
        raise VmdError(f"there is no record {record}")
    _socket(record).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(_socket(record)))
        _socket(record).chmod(0o600)
        listener.listen()
        os.write(1, b"armed\n")
        _keep(record, found, listener)


def _keep(record: Path, found: dict[str, Any], listener: socket.socket) -> None:
    end = time.monotonic() + found["seconds"]
    outcome, client = ARMED, None
    while outcome == ARMED:
        outcome, client = _wait(listener, end)
    _socket(record).unlink(missing_ok=True)
    if outcome == CONFIRMED:
        write_record(record, {**found, "state": CONFIRMED})
    else:
        done = undo(record, found)
        outcome = FAILED if done.refused else UNDONE
        append_line(_log(record), f"{outcome} in {done.milliseconds:.1f} ms {'; '.join(done.refused)}".rstrip())
    if client:
        with client, suppress(OSError):
            client.sendall(outcome.encode())


def _wait(listener: socket.socket, end: float) -> tuple[str, socket.socket | None]:
    """Wait for one word, or for the end; a client that says nothing, or something else, changes nothing."""
    try:
        listener.settimeout(max(0.001, end - time.monotonic()))
        client, _ = listener.accept()
        client.settimeout(max(0.001, min(1.0, end - time.monotonic())))
        word = client.recv(100)
    except TimeoutError:
        return (UNDONE if time.monotonic() >= end else ARMED), None
    except OSError:
        return ARMED, None
    if word in _WORDS:
        return _WORDS[word], client
    client.close()
    return ARMED, None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
