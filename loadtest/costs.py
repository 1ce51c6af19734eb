"""What one request of each class costs: CPU milliseconds by group of hosts, each class asked for alone.

And what of it can't be saved: the password's hash and the row's INSERT, timed in the application's own environment.
"""

from __future__ import annotations

import json
import statistics
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
# Prints the CPU milliseconds of the process, medians of 15: of a password's check, and of a new profile's INSERT.
UNAVOIDABLE = """
import json, statistics, time
from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from people.models import Profile
def timed(work):
    took = []
    for _ in range(15):
        began = time.process_time()
        work()
        took.append((time.process_time() - began) * 1000)
    return round(statistics.median(took), 3)
hashed = make_password("a password of some length")
somebody = Profile.objects.first()
names = [field.attname for field in Profile._meta.concrete_fields if not field.primary_key]
fields = {name: getattr(somebody, name) for name in names}
with transaction.atomic():
    found = {
        "hash": timed(lambda: check_password("a password of some length", hashed)),
        "insert": timed(lambda: Profile.objects.create(**fields)),
    }
    transaction.set_rollback(True)
print(json.dumps(found))
"""


def measure(target: Target, plan: Plan, *, profiles: int, seconds: int, rounds: int, file: Path) -> None:
    """Ask for each class alone, round after round, with one web host that speaks HTTP itself; writes `file`.

    Raises LoadError when a request fails.
    """
    playbook(target, f"playbooks/{RUNG}.yml")
    load_data(target, plan, profiles=profiles)
    try:
        found, least = _rounds(target, plan, seconds, rounds)
    finally:
        load_data(target, plan, accounts=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "users": USERS, "profiles": profiles, "classes": found, "unavoidable": least}
    file.write_text(json.dumps(results, indent=1))
    say(f"{file}; the least a visit of the cached rung takes: {floor(results)} CPU-ms of the web hosts")


def _rounds(target: Target, plan: Plan, seconds: int, rounds: int) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """The classes' costs, and what can't be saved, round after round."""
    meters = Meters(target.hosts())
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CLASSES}
    least: list[dict[str, float]] = []
    for number in range(1, rounds + 1):
        least.append(_unavoidable(target))
        say(f"round {number}, what can't be saved: {least[-1]} CPU-ms")
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
    return found, least


def _unavoidable(target: Target) -> dict[str, float]:
    """What `hash` and `insert` cost on the first web host."""
    host = target.hosts()[target.groups["web"][0]]
    found: dict[str, float] = json.loads(host.check_output("hugproof-manage shell -v0 -c %s", UNAVOIDABLE))
    return found


def floor(results: dict[str, Any], logins: float = 0.1) -> float:
    """The least CPU milliseconds of the web hosts for a visit with a cache in front, by medians of what was measured.

    That is one profile, and for each login a password's hash and the application's side of an INSERT.
    """
    profile = statistics.median(round_["web"] for round_ in results["classes"]["profile"])
    once = sum(statistics.median(round_[name] for round_ in results["unavoidable"]) for name in ("hash", "insert"))
    return round(profile + logins * once, 2)
