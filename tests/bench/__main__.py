"""``python -m tests.bench``: run it all, or what is named, and print a table; ``--json FILE`` keeps all samples."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.bench import rounds as each
from tests.bench.measure import Report
from tests.tiny.guests import missing

PARTS = ("one", "crowd", "idle", "libvirt", "growth")


def main() -> int:
    """Run the bench."""
    words = argparse.ArgumentParser(
        prog="python -m tests.bench", description="What vmd costs, beside raw QEMU and libvirt."
    )
    words.add_argument("parts", nargs="*", help=f"what to measure: {', '.join(PARTS)}; all, where none is named")
    words.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    words.add_argument("--guests", type=int, default=50, help="how many make a fleet (50)")
    words.add_argument("--seconds", type=float, default=60.0, help="how long a fleet is idle (60)")
    words.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    chosen = words.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        words.error(f"there is no {', '.join(sorted(unknown))}")
    if why := missing():
        words.error(why)
    report = Report()
    for part in chosen.parts or PARTS:
        sys.stderr.write(f"{part} …\n")
        _measure(part, chosen, report)
    sys.stdout.write("".join(f"{line}\n" for line in report.table()))
    if chosen.json:
        chosen.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0


def _measure(part: str, chosen: argparse.Namespace, report: Report) -> None:
    match part:
        case "one":
            each.one(report, 3 * chosen.rounds)
        case "crowd":
            each.crowd(report, chosen.rounds, chosen.guests)
        case "idle":
            each.idle(report, chosen.guests, chosen.seconds)
        case "libvirt":
            each.beside_libvirt(report, chosen.rounds, (10, 100), chosen.guests)
        case "growth":
            each.growth(report, (10, 25, 50, 100))


if __name__ == "__main__":
    sys.exit(main())
