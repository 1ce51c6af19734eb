"""How many hosts of each group a site needs: pages a day, hit ratio and CPU milliseconds in, hosts out."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.target import LoadError

DAY = 24 * 3600
GROUPS = ("edge", "web", "db", "cache")


@dataclass(frozen=True)
class Demand:
    """What comes: requests a day; `peak`, the busiest second against the mean one; `hit_ratio` from 0 to 1."""

    requests_a_day: float
    hit_ratio: float
    peak: float = 4.0

    @property
    def requests_a_second(self) -> float:
        """In the busiest second."""
        return self.requests_a_day / DAY * self.peak


@dataclass(frozen=True)
class Costs:
    """CPU milliseconds: of an edge host for any request; of the other groups for a request that the cache has not."""

    edge: float
    web: float
    db: float
    cache: float

    def demand(self, demand: Demand) -> dict[str, float]:
        """Cores that the busiest second keeps at work, by group: requests/s times CPU seconds a request."""
        misses = demand.requests_a_second * (1 - demand.hit_ratio)
        cores = {group: misses * getattr(self, group) / 1000 for group in ("web", "db", "cache")}
        return {"edge": demand.requests_a_second * self.edge / 1000, **cores}

    def hosts(self, demand: Demand, cores: float, utilisation: float) -> dict[str, int]:
        """Hosts by group, each with so many `cores`, of which at most the share `utilisation` is to be at work."""
        return {
            group: max(math.ceil(needed / (cores * utilisation) - 1e-9), 1)
            for group, needed in self.demand(demand).items()
        }


def measured(file: Path, step: str = "cached-2-200") -> Costs:
    """The costs that a ladder has measured: medians of a step with a cache.

    Raises LoadError when the file has no run of it.
    """
    results = json.loads(file.read_text())
    runs = _runs(file, step)
    groups = results["groups"]

    def of(group: str, run: dict[str, Any]) -> float:
        total = sum(run["hosts"][host]["cpu_seconds"] for host in groups[group])
        asked = run["requests"] * (1.0 if group == "edge" else 1 - run["hit_ratio"])
        return float(total * 1000 / asked)

    return Costs(**{group: statistics.median(of(group, run) for run in runs) for group in GROUPS})


def checked(file: Path) -> list[dict[str, float]]:
    """What the calculator says of 1, 2 and 3 web hosts that are the limit, beside what a ladder has measured.

    For each number of `hosts`: `predicted` and `measured` requests/s. The web hosts' CPU milliseconds are those of the
    step with 2 of them; hit ratios are each step's own. Raises LoadError when runs are missing, or the hosts have no
    known size.
    """
    results = json.loads(file.read_text())
    caps = results["settings"]["caps"]
    if missing := [host for host in results["groups"]["web"] if host not in caps]:
        raise LoadError(f"{', '.join(missing)}: without lab_cpus there is no saying how much of it was at work.")
    cores = statistics.mean(caps[host] for host in results["groups"]["web"])
    web = measured(file).web
    found = []
    for hosts in (1, 2, 3):
        step = f"cached-{hosts}-200"
        misses = cores * hosts / (web / 1000)
        found.append(
            {
                "hosts": hosts,
                "predicted": misses / (1 - known_hit_ratio(file, step)),
                "measured": statistics.median(run["requests_per_second"] for run in _runs(file, step)),
            }
        )
    return found


def known_hit_ratio(file: Path, step: str = "cached-2-200") -> float:
    """The hit ratio that a ladder has measured: the median of a step's runs."""
    return float(statistics.median(run["hit_ratio"] for run in _runs(file, step)))


def _runs(file: Path, step: str) -> list[dict[str, Any]]:
    runs = [run for run in json.loads(file.read_text())["runs"] if run["step"] == step and "error" not in run]
    if not runs:
        raise LoadError(f"{file} has no run of {step}: make ladder ARGS='--rung cached'")
    return runs
