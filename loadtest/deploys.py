"""Releases under load: how long each takes, what visitors notice of it, and what memory a web host needs meanwhile."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest import load
from loadtest.ladder import load_data, machine, playbook, say
from loadtest.load import Load, Plan
from loadtest.meters import Meters
from loadtest.results import described, failures, histogram, merged
from loadtest.target import PROJECT, LoadError, Target

RUNG = "cached"
CALM = "no release"
CODE, REQUIREMENTS, BACK = "deploy, code alone", "deploy, other requirements", "rollback"
CALM_SECONDS = 20
# Versions of a small package that nothing needs: as many as there are, so that no release with one is kept any more.
MINORS = range(10, 18)


def measure(target: Target, plan: Plan, *, profiles: int, rate: float, rounds: int, file: Path) -> None:
    """Deploy the example application and go back, round after round, while `rate` visits a second come; writes `file`.

    Raises LoadError when a playbook fails, or visitors come to no answer at all.
    """
    playbook(target, f"playbooks/{RUNG}.yml")
    load_data(target, plan, profiles=profiles)
    found: list[dict[str, Any]] = []
    try:
        for number in range(1, rounds + 1):
            found.append(_round(target, plan, rate, number))
    finally:
        load_data(target, plan, accounts=0)
        playbook(target, f"playbooks/{RUNG}.yml")
    results = {
        "machine": machine(),
        "web_hosts": len(target.groups["web"]),
        "caps": target.caps,
        "visits_per_second": rate,
        "rounds": found,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1))
    print(table(results))


def _round(target: Target, plan: Plan, rate: float, number: int) -> dict[str, Any]:
    found = {}
    with _visitors(target, plan, rate, found, CALM):
        time.sleep(CALM_SECONDS)
    with tempfile.TemporaryDirectory(prefix="release-") as directory:
        source = Path(directory) / "app"
        shutil.copytree(PROJECT / "app", source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        (source / "RELEASE").write_text(f"{time.time()}\n")
        with _visitors(target, plan, rate, found, CODE):
            playbook(target, "playbooks/deploy.yml", app_source=str(source))
        with (source / "requirements.txt").open("a") as requirements:
            requirements.write(f"\nsix==1.{MINORS[number % len(MINORS)]}.0\n")
        with _visitors(target, plan, rate, found, REQUIREMENTS):
            playbook(target, "playbooks/deploy.yml", app_source=str(source))
        with _visitors(target, plan, rate, found, BACK):
            playbook(target, "playbooks/rollback.yml")
    for kind, measured in found.items():
        say(f"round {number}, {kind}: {measured}")
    return found


@contextmanager
def _visitors(target: Target, plan: Plan, rate: float, found: dict[str, Any], kind: str) -> Iterator[None]:
    """Visitors come while the block runs; what they met with is in `found[kind]` afterwards."""
    meters = Meters({name: target.hosts()[name] for name in target.groups["web"]})
    with load.traffic(target, RUNG, plan, Load(rate=rate)) as traffic, meters.memory_peaks(5.0) as memory:
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
    times = described(merged(histogram(traffic.recorded).values()))
    if not times["requests"]:
        raise LoadError(f"{kind}: no request was answered: {failures(traffic.recorded) or 'none was sent'}")
    found[kind] = {
        "seconds": round(seconds, 1),
        **{name: times[name] for name in ("requests", "p50", "p99")},
        "failed": sum(sum(entry["failures"].values()) for entry in traffic.recorded["classes"].values()),
        "failures": failures(traffic.recorded),
        "memory_mb": max(memory.values()),
    }


def table(results: dict[str, Any]) -> str:
    """The medians of all rounds, in Markdown; failed requests are all that there were."""
    lines = [
        "| what | seconds | failed | p50 | p99 | p99 against no release | web host's memory |",
        "|---|" + "---|" * 6,
    ]
    calm = statistics.median(round_[CALM]["p99"] for round_ in results["rounds"])
    for kind in (CALM, CODE, REQUIREMENTS, BACK):
        rounds = [round_[kind] for round_ in results["rounds"]]
        middle = {
            name: statistics.median(one[name] for one in rounds) for name in ("seconds", "p50", "p99", "memory_mb")
        }
        seconds = [one["seconds"] for one in rounds]
        took = "-" if kind == CALM else f"{middle['seconds']:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        failed = f"{sum(one['failed'] for one in rounds):,} of {sum(one['requests'] for one in rounds):,}"
        against = "-" if kind == CALM else f"{middle['p99'] / calm:.2f}"
        lines.append(
            f"| {kind} | {took} | {failed} | {middle['p50']:.3g} ms | {middle['p99']:.0f} ms | {against} | "
            f"{middle['memory_mb']:.0f} MB |"
        )
    return "\n".join(lines)
