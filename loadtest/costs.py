"""What one request of each class costs: CPU milliseconds by group of hosts, each class asked for alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest import load
from loadtest.ladder import load_data, machine, playbook, say
from loadtest.load import Load, Plan
from loadtest.meters import Meters, used
from loadtest.results import failures, summary
from loadtest.target import LoadError, Target

# The order of the talk's loop.
CLASSES = ("home", "hot profile", "profile", "login page", "login", "create", "home as member")
USERS = 4
RUNG = "uwsgi"


def measure(target: Target, plan: Plan, *, profiles: int, seconds: int, rounds: int, file: Path) -> None:
    """Ask for each class alone, round after round, with one web host that speaks HTTP itself; writes `file`.

    Raises LoadError when a request fails.
    """
    playbook(target, f"playbooks/{RUNG}.yml")
    load_data(target, plan, profiles=profiles)
    meters = Meters(target.hosts())
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CLASSES}
    for number in range(1, rounds + 1):
        for name in CLASSES:
            alone = replace(plan, arguments=(*plan.arguments, "--only", name))
            with load.traffic(target, RUNG, alone, Load(USERS, seconds=seconds, warmup=3)) as traffic:
                before = meters.read()
                traffic.wait()
                after = meters.read()
            if wrong := failures(traffic.recorded):
                raise LoadError(f"{name}: {wrong}")
            answered = summary(traffic.recorded)[name]["requests"]
            cpu = used(before, after)
            by_group = {
                group: round(sum(cpu[host] for host in members) * 1000 / answered, 3)
                for group, members in target.groups.items()
                if group != "edge"
            }
            found[name].append({"requests": answered, **by_group})
            say(f"round {number}, {name}: {by_group} CPU-ms, {answered} requests")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps({"machine": machine(), "users": USERS, "profiles": profiles, "classes": found}, indent=1)
    )
