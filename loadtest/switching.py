"""Ways to switch a uWSGI from one release to another, beside each other: what fails, and how long answers take."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from loadtest.ladder import machine
from loadtest.target import LoadError, Target

SCRIPT = Path(__file__).with_name("switching_host.py")


def measure(target: Target, *, path: str, rounds: int, file: Path) -> None:
    """Switch uWSGIs on the first web host, which serves already, in all ways, round after round; writes `file`.

    Raises LoadError when the host can't.
    """
    name = target.groups["web"][0]
    arguments = [f"/srv/{target.application}", target.application, target.domain, path, str(rounds)]
    command = " ".join(["python3 -c %s", *["%s"] * len(arguments)])
    done = target.hosts()[name].run(command, SCRIPT.read_text(), *arguments)
    if done.rc:
        raise LoadError(f"{name}: {done.stderr}")
    results = {"machine": machine(), "ways": json.loads(done.stdout)}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1))
    print(table(results))


def table(results: dict[str, Any]) -> str:
    """The medians of all rounds, in Markdown; failed requests are all that there were."""
    lines = ["| way | failed | p50 | p99 | the switch takes |", "|---|---|---|---|---|"]
    for way, rounds in results["ways"].items():
        failed = f"{sum(one['failed'] for one in rounds):,} of {sum(one['requests'] for one in rounds):,}"
        middle = {name: statistics.median(one[name] for one in rounds) for name in ("p50", "p99", "seconds")}
        took = f"{middle['seconds']:.1f} s" if way != "no switch" else "-"
        lines.append(f"| {way} | {failed} | {middle['p50']:.0f} ms | {middle['p99']:.0f} ms | {took} |")
    return "\n".join(lines)
