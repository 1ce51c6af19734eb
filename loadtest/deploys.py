"""Releases under load: how long each takes, what visitors notice of it, and what memory a web host needs meanwhile."""

from __future__ import annotations

import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest import load
from loadtest.ladder import load_data, machine, playbook, say
from loadtest.load import Load, Plan
from loadtest.meters import Meters
from loadtest.plays import run, run_until
from loadtest.releases import BROKEN, Broken, release
from loadtest.results import described, failures, histogram, merged
from loadtest.target import LoadError, Target

RUNG = "cached"
DEPLOY, ROLLBACK = "playbooks/deploy.yml", "playbooks/rollback.yml"
CALM = "no release"
CALM_SECONDS = 20
# Versions of a small package that nothing needs: as many as there are, so that no release with one is kept any more.
MINORS = range(10, 18)
# Printed when the first web host has the new release, and waits for its workers.
HALF_WAY = "TASK [uwsgi_django : Every worker is ready]"

# What is done while visitors come, by its name; and what makes the variables of a release that is new to the hosts.
Acts = dict[str, Callable[[], object]]
New = Callable[..., dict[str, object]]


def measure(
    target: Target, plan: Plan, *, profiles: int, rate: float, rounds: int, everything: bool, fresh: bool, file: Path
) -> None:
    """Deploy the example application and go back, round after round, while `rate` visits a second come; writes `file`.

    With `everything` also what breaks, is interrupted, restarts, leaves and joins. Rounds that the file has of the same
    cluster count, unless `fresh`. Raises LoadError when a playbook does not end as it is to, or visitors come to no
    answer at all.
    """
    same = {
        "web_hosts": len(target.groups["web"]),
        "caps": target.caps,
        "visits_per_second": rate,
        "everything": everything,
    }
    results: dict[str, Any] = {"machine": machine(), **same, "rounds": [] if fresh else _rounds_before(file, same)}
    playbook(target, f"playbooks/{RUNG}.yml")
    load_data(target, plan, profiles=profiles)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        for number in range(len(results["rounds"]) + 1, rounds + 1):
            results["rounds"].append(_round(target, plan, rate, number, everything=everything))
            file.write_text(json.dumps(results, indent=1))
    finally:
        load_data(target, plan, accounts=0)
        playbook(target, f"playbooks/{RUNG}.yml")
    print(table(results))


def _rounds_before(file: Path, same: dict[str, Any]) -> list[dict[str, Any]]:
    """The rounds of a file whose cluster and choices are the same. Raises LoadError when they are others."""
    if not file.exists():
        return []
    before = json.loads(file.read_text())
    if {name: before.get(name) for name in same} != same:
        raise LoadError(f"{file} has rounds of another cluster or other choices: write --fresh, or --reports.")
    say(f"{file} has {len(before['rounds'])} rounds; the next ones are added.")
    return list(before["rounds"])


def _round(target: Target, plan: Plan, rate: float, number: int, *, everything: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="release-") as directory:

        def new(name: str, appended: dict[str, str] | None = None) -> dict[str, object]:
            return release(Path(directory), f"{name.replace(' ', '-')}-{time.time()}", appended)

        acts = _releases(target, new, number)
        if everything:
            good = new("good")
            acts |= _faults(target, new, good) | _hosts(target, good)
        for kind, act in acts.items():
            with _visitors(target, plan, rate, found, kind):
                act()
            say(f"round {number}, {kind}: {found[kind]}")
    return found


def _releases(target: Target, new: New, number: int) -> Acts:
    """What is done again and again: releases and the way back."""
    package = {"requirements.txt": f"\nsix==1.{MINORS[number % len(MINORS)]}.0\n"}
    return {
        CALM: lambda: time.sleep(CALM_SECONDS),
        "deploy, code alone": lambda: playbook(target, DEPLOY, **new("code")),
        "deploy, other requirements": lambda: playbook(target, DEPLOY, **new("requirements", package)),
        "rollback": lambda: playbook(target, ROLLBACK),
    }


def _faults(target: Target, new: New, good: dict[str, object]) -> Acts:
    """What goes wrong: deploys that are killed or do not work; `good` runs in the end."""

    def killed(variables: dict[str, object]) -> None:
        run_until(HALF_WAY, DEPLOY, target.inventory, **variables)

    def fails(kind: str, broken: Broken) -> None:
        done = run(DEPLOY, target.inventory, **new(kind, broken.appended), **broken.variables)
        if done.returncode == 0 or broken.told not in done.words:
            raise LoadError(f"{DEPLOY} was to fail with '{broken.told}':\n{done.output[-3000:]}")

    second = target.groups["web"][1:2] == ["web2"]
    kinds = {kind: broken for kind, broken in BROKEN.items() if second or "second host" not in kind}
    return {
        "deploy, killed and undone": lambda: (killed(new("undone")), playbook(target, ROLLBACK)),
        "deploy, killed and finished": lambda: (killed(good), playbook(target, DEPLOY, **good)),
        **{f"broken: {kind}": functools.partial(fails, kind, broken) for kind, broken in kinds.items()},
    }


def _hosts(target: Target, good: dict[str, object]) -> Acts:
    """What is done to web hosts, which run `good`."""
    last = {"host": target.groups["web"][-1]}
    several = {
        "a web host is drained": lambda: playbook(target, "playbooks/drain.yml", **last),
        "it is put back": lambda: playbook(target, "playbooks/undrain.yml", **last),
        "a web host leaves": lambda: playbook(target, "playbooks/retire.yml", **last),
        # Its line has never gone: to the balancers it is one that is drained, and comes back.
        "it joins": lambda: (playbook(target, "site.yml", **good), playbook(target, "playbooks/undrain.yml", **last)),
    }
    restart = {"rolling restart": lambda: playbook(target, "playbooks/restart.yml")}
    return restart | (several if len(target.groups["web"]) > 1 else {})


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
    for kind in results["rounds"][-1]:
        rounds = [round_[kind] for round_ in results["rounds"] if kind in round_]
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
