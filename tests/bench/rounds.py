"""What is measured, one function for each thing; each takes turns with what it is held against."""

from __future__ import annotations

import time

from tests.bench import byhand
from tests.bench.house import House, house
from tests.bench.libvirtd import Libvirtd, libvirtd, missing
from tests.bench.measure import Report, until, used

RAW_ONE, RAW_MANY = "raw QEMU, one guest", "raw QEMU, {} guests, two at a time"


def one(report: Report, rounds: int) -> None:
    """One guest with a disk, to rung process: a vmctl, against its line typed by hand."""
    with house(1) as vmd:
        vmd.done("up", "--all", "--wait", "process")
        (line,) = vmd.lines()
        for _ in range(rounds):
            vmd.done("down", "--all")
            with report.timing(RAW_ONE):
                guest = byhand.ByHand(line)
            guest.kill()
            with report.timing("vmctl up, one guest", against=RAW_ONE, budget=0.15, rule="plus"):
                vmd.done("up", "g000", "--wait", "process")


def crowd(report: Report, rounds: int, count: int) -> None:
    """A whole fleet: up, down, adopted after a kill -9, and idle."""
    raw, raw_off = RAW_MANY.format(count), f"raw power-off, {count} guests"
    with house(count) as vmd:
        vmd.done("up", "--all", "--wait", "process")
        lines = vmd.lines()
        for _ in range(rounds):
            vmd.spoken()
            with report.timing(f"vmctl down --all, {count} guests", against=raw_off, budget=1.0):
                vmd.done("down", "--all")
            with report.timing(raw):
                guests = byhand.start(lines, 2)
            vmd.spoken()
            with report.timing(raw_off):
                byhand.power_off(guests)
            with report.timing(f"vmctl up --all --wait process, {count} guests", against=raw, budget=1.5):
                vmd.done("up", "--all", "--wait", "process")
        vmd.spoken()
        _adopted(report, rounds, vmd)


def _adopted(report: Report, rounds: int, vmd: House) -> None:
    for _ in range(rounds):
        vmd.kill()
        with report.timing(f"vmd adopts {len(vmd.names)} guests, from exec", budget=1.0, rule="most"):
            vmd.again()
            until(vmd.answers)


def idle(report: Report, count: int, seconds: float) -> None:
    """An idle fleet: what vmd itself uses."""
    with house(count) as vmd:
        vmd.done("up", "--all", "--wait", "process")
        vmd.spoken()
        until(vmd.answers)
        before = used(vmd.pid)
        time.sleep(seconds)
        after = used(vmd.pid)
        report.add(f"vmd idle {seconds:g} s with {count} guests, CPU", "%", (after.cpu - before.cpu) / seconds * 100)
        report.add(f"vmd with {count} guests, RSS", "MB", after.rss / 1e6, budget=80, rule="most")


def listing(report: Report, rounds: int, count: int, other: Libvirtd | None) -> None:
    """The cheapest question there is, by a process of its own."""
    against = f"virsh list --all, {count} guests"
    with house(count) as vmd:
        if other:
            other.define([f"l{count}-{name}" for name in vmd.names], vmd.tiny_disk)
        for _ in range(3 * rounds):
            if other:
                with report.timing(against):
                    other.virsh("list", "--all")
            with report.timing(f"vmctl list, {count} guests", against=against, budget=1.3):
                vmd.done("list")
            with report.timing(f"vmctl status, {count} guests", against=against, budget=1.3):
                vmd.done("status")


def growth(report: Report, counts: tuple[int, ...]) -> None:
    """How cost grows with the number of guests; per guest it should stay the same."""
    for count in counts:
        with house(count) as vmd:
            began = time.perf_counter()
            vmd.done("up", "--all", "--wait", "process")
            report.add(f"growth: up, a guest of {count}", "ms", (time.perf_counter() - began) / count * 1000)
            report.add(f"growth: vmd's CPU for it, a guest of {count}", "ms", used(vmd.pid).cpu / count * 1000)
            report.add(f"growth: RSS with {count}", "MB", used(vmd.pid).rss / 1e6)


def under_libvirt(report: Report, rounds: int, count: int, other: Libvirtd) -> None:
    """The same guests by libvirt-python, with as many threads as others use."""
    with house(count) as vmd:
        names = [f"f{name}" for name in vmd.names]
        other.define(names, vmd.tiny_disk)
    raw, off = RAW_MANY.format(count), f"raw power-off, {count} guests"
    for _ in range(rounds):
        for threads in (2, 8):
            started = other.ask("start", names, threads)
            report.add(f"libvirt-python, {count} guests, {threads} threads", "s", started, against=raw)
            other.ask("kill", names, 8)
    other.ask("start", names, 8)
    time.sleep(10)  # no way to ask a domain's serial file whether all have said their word that is not a poll
    report.add(f"libvirt-python, {count} power-offs, 8 threads", "s", other.ask("button", names, 8), against=off)
    other.ask("start", names, 8)
    _restarted(report, rounds, count, other)


def _restarted(report: Report, rounds: int, count: int, other: Libvirtd) -> None:
    for _ in range(rounds):
        other.kill()
        with report.timing(f"libvirtd lists {count} guests again, from exec"):
            other.start()
            until(lambda: other.answers(count))
    report.add(f"libvirtd with {count} guests, RSS", "MB", used(other.pid).rss / 1e6)


def beside_libvirt(report: Report, rounds: int, counts: tuple[int, ...], many: int) -> None:
    """All that libvirt is held against; without it, our half."""
    if why := missing():
        report.skipped["libvirt"] = why
        for count in counts:
            listing(report, rounds, count, None)
        return
    with libvirtd() as other:
        for count in counts:
            listing(report, rounds, count, other)
            names = other.virsh("list", "--all", "--name").stdout.split()
            for name in names:
                other.virsh("undefine", name)
        under_libvirt(report, rounds, many, other)
