"""Restores of backups by the size of the directory: how long each takes whoever waits for it, and what comes back.

Each size is seeded and backed up in full, a restore point gives the moment its name, and then all but one profile go.
Every restore goes to that point, beside the database, and is dropped again. In the end the directory has as many
profiles as before, but others, and the new full backups have made those from before expire.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from pathlib import Path
from typing import Any

from loadtest.drills.hosts import Hosts, power
from loadtest.ladder import machine, say
from loadtest.plays import Run, run
from loadtest.target import LoadError, Target

BACKUP, RESTORE = "playbooks/backup.yml", "playbooks/restore.yml"
# What the playbook says in the end: where the restored cluster is, and its name.
RESTORED = re.compile(r'"(\S+) has the data of .*?psql --cluster (\S+) (\S+)"', re.DOTALL)
# Seconds that seeding, a backup or a restore may take.
LONGEST = 3600


def measure(target: Target, *, sizes: list[int], repeats: int, file: Path) -> None:
    """Restore a directory of each of `sizes` profiles `repeats` times; writes `file`.

    {"machine", "groups", "sizes": [{"profiles", "database_bytes", "backup_bytes", "backup_seconds",
    "restore_seconds": [S]}]}

    Raises LoadError for hosts that are not a lab's, whose directory and backups are not there for that, where a
    restored cluster stands already, when a playbook fails, and when another number of profiles comes back.
    """
    try:
        power(target)
    except LoadError as error:
        raise LoadError(
            f"The directory and the backups are replaced for this, and only a lab's may be. {error}"
        ) from error
    results: dict[str, Any] = {"machine": machine(), "groups": target.groups, "sizes": []}
    file.parent.mkdir(parents=True, exist_ok=True)
    hosts = Hosts(target)
    for name in target.groups["db"]:
        if standing := hosts.run(
            name, "find", "/etc/postgresql", "-mindepth", "2", "-maxdepth", "2", "-name", "restored"
        ):
            raise LoadError(f"{name} has {standing.strip()}, a restored cluster: {RESTORE} -e drop=true drops it.")
    before = _count(hosts)
    try:
        for size in sizes:
            results["sizes"].append(_size(hosts, size, repeats))
            file.write_text(json.dumps(results, indent=1))
    finally:
        _seed(hosts, before)
    print(table(results))


def _size(hosts: Hosts, size: int, repeats: int) -> dict[str, Any]:
    target = hosts.target
    point = f"restores-{size}-{time.time():.0f}"
    _seed(hosts, size)
    took, _ = _played(target, BACKUP, type="full")
    kept = _info(hosts)["backup"][-1]["info"]
    found: dict[str, Any] = {
        "profiles": size,
        "database_bytes": kept["size"],
        "backup_bytes": kept["repository"]["delta"],
        "backup_seconds": took,
        "restore_seconds": [],
    }
    say(f"{size:,} profiles, backed up in {took} s")
    _played(target, BACKUP, restore_point=point)
    _seed(hosts, 1)
    for number in range(1, repeats + 1):
        took, told = _played(target, RESTORE, target=f"name={point}")
        try:
            if (back := _profiles(hosts, told)) != size:
                raise LoadError(f"The restored cluster has {back:,} profiles in place of {size:,}.")
        finally:
            _played(target, RESTORE, drop=True)
        found["restore_seconds"].append(took)
        say(f"{size:,} profiles, restore {number}: {took} s")
    return found


def _manage(hosts: Hosts, *words: str) -> str:
    return hosts.run(hosts.target.groups["web"][0], "hugproof-manage", *words, limit=LONGEST)


def _count(hosts: Hosts) -> int:
    code = "from people.models import Profile; print(Profile.objects.count())"
    return int(_manage(hosts, "shell", "-v0", "-c", code)) or 1


def _seed(hosts: Hosts, size: int) -> None:
    _manage(hosts, "seed_profiles", "--replace", "--count", str(size))


def _played(on: Target, playbook: str, **variables: object) -> tuple[float, Run]:
    """How many seconds a playbook took, and what it printed."""
    began = time.monotonic()
    done = run(playbook, on.inventory, patience=LONGEST, **variables)
    if done.returncode:
        raise LoadError(f"{playbook} failed:\n{done.output[-3000:]}")
    return round(time.monotonic() - began, 1), done


def _info(hosts: Hosts) -> dict[str, Any]:
    """What the repository has, as `pgbackrest info` tells it."""
    keeper = (hosts.target.groups["backup"] or hosts.target.groups["db"])[0]
    (stanza,) = json.loads(hosts.run(keeper, "runuser", "-u", "postgres", "--", "pgbackrest", "info", "--output=json"))
    return dict(stanza)


def _profiles(hosts: Hosts, told: Run) -> int:
    """How many profiles the restored cluster has that a playbook told of."""
    where = RESTORED.search(told.output)
    if not where:
        raise LoadError(f"{RESTORE} does not say where the restored cluster is:\n{told.output[-3000:]}")
    host, cluster, database = where.groups()
    count = "SELECT count(*) FROM people_profile"
    return int(
        hosts.run(host, "runuser", "-u", "postgres", "--", "psql", "--cluster", cluster, "-Atc", count, database)
    )


def table(results: dict[str, Any]) -> str:
    """Sizes and times in Markdown: of restores the median, and in brackets the shortest and the longest."""
    lines = [
        "| profiles | database | full backup, compressed | `backup.yml -e type=full` | `restore.yml` to that moment |",
        "|---|---|---|---|---|",
    ]
    for one in results["sizes"]:
        seconds = one["restore_seconds"]
        lines.append(
            f"| {one['profiles']:,} | {_bytes(one['database_bytes'])} | {_bytes(one['backup_bytes'])} | "
            f"{one['backup_seconds']:.0f} s | {statistics.median(seconds):.1f} s "
            f"({min(seconds):.1f} to {max(seconds):.1f}, {len(seconds)} times) |"
        )
    return "\n".join(lines)


def _bytes(count: int) -> str:
    megabytes = count / 1e6
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
