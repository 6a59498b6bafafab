"""The verbs that look on: the console's log, the events, the screen."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from ..errors import VmdError
from ..protocol import Exit
from . import show
from .client import daemon, decoded, route


def log(arguments: Namespace) -> int:
    """Print what the serial console said, byte for byte."""
    follow, install = "1" if arguments.follow else "", "1" if arguments.install else ""
    for block in daemon().stream(route("guests", arguments.guest, "log", follow=follow, install=install)):
        show.octets(block)
    return Exit.DONE


def events(arguments: Namespace) -> int:
    """Print what happened."""
    since = "" if arguments.since is None else f"{arguments.since:.3f}"
    target = route("events", follow="1" if arguments.follow else "", since=since, name=arguments.guests)
    for line in daemon().lines("GET", target):
        if arguments.json:
            show.octets(line)
        else:
            show_event(line)
    return Exit.DONE


def show_event(line: bytes) -> None:
    """Write one event of the stream in words, led by the time of day."""
    from .progress import led, sentence  # noqa: PLC0415 - this verb's alone

    event = decoded(line)
    text = sentence(event)
    if event["event"] == "outcome":
        text = "done" if event["ok"] else "failed"
    if event["event"] == "step.failed":
        text = f"{text}: {event['error']}"
    show.line(f"{show.clock(event['time'])} {led(event, text or event['event'])}")
    sys.stdout.flush()  # who pipes it wants it now


def pcap(arguments: Namespace) -> int:
    """Write what passes a NIC into a file, until Ctrl-C or the guest's end."""
    stream = daemon().stream(route("guests", arguments.guest, "pcap", nic=arguments.nic))
    try:
        if arguments.file == "-":
            for block in stream:
                show.octets(block)
            return Exit.DONE
        with open(arguments.file, "wb", buffering=0) as file:  # noqa: PTH123 - as light as everything here
            for block in stream:
                file.write(block)
    except KeyboardInterrupt:
        return Exit.DONE
    except OSError as error:
        raise VmdError(f"the capture can't be written to {arguments.file}: {error.strerror}") from error
    return Exit.DONE


def screenshot(arguments: Namespace) -> int:
    """Write the guest's screen into a file, whole or not at all."""
    picture = daemon().octets(route("guests", arguments.guest, "screenshot"))
    if arguments.file == "-":
        show.octets(picture)
        return Exit.DONE
    partial = f"{arguments.file}.{os.getpid()}.part"
    try:
        with open(partial, "wb") as file:  # noqa: PTH123 - as light as everything here
            file.write(picture)
        os.replace(partial, arguments.file)  # noqa: PTH105
    except OSError as error:
        raise VmdError(f"the screenshot can't be written to {arguments.file}: {error.strerror}") from error
    return Exit.DONE
